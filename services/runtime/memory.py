"""The process's memory: how much it may use, and how the C library deals with large blocks."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


# Parameters of glibc's mallopt(3), and the largest threshold that it takes on 64 bits.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MAX_MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024
_KEPT_BYTES = 128 * 1024 * 1024


def memory_limit_bytes() -> int:
    """The least of the machine's and its control groups' limits."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(Path(path).read_text()))
    return min(limits)


def keep_large_blocks() -> None:
    """Let freed blocks of up to 32 MiB be used again, instead of giving each back to the system at once.

    A body, its lines, a record and its compressed form are such blocks. The system clears every page of a new one
    before it hands it out, which cost more than everything else that is done with the bytes.
    Up to 128 MiB stay with the process. Does nothing where the C library is not glibc.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
