"""Which files this process may reach, by rules of the Linux kernel (Landlock) that no later code can lift.

ClickHouse's local mode lets whoever may ask it anything read any file with the function `file`, and no right of its own
closes that. So its process can open only what it needs.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

# Of linux/landlock.h and the system call table, which is the same on all architectures since these calls are new.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_READ = 1 << 2 | 1 << 3
_READ_FILE, _WRITE_FILE, _TRUNCATE = 1 << 2, 1 << 1, 1 << 14
_OF_FILES = 1 << 0 | _READ_FILE | _WRITE_FILE | _TRUNCATE
# Before 2 nothing can be moved between folders; 3 knows of truncation.
_LEAST_VERSION, _TRUNCATE_VERSION = 2, 3
_ALL_OF_VERSION_2 = (1 << 14) - 1
_NO_NEW_PRIVILEGES = 38


class FileRulesError(Exception):
    """The kernel does not keep such rules; the message is for a person."""


def allow_only(read: Iterable[Path], write: Iterable[Path]) -> None:
    """From here on this thread, and all that it starts, may open what is in these folders, and nothing else.

    What is not there is passed over. The folders stay open: of /proc, what nobody has open is made again for each look, and
    a rule is about the one that was there. Raises FileRulesError, and changes nothing then.
    """
    version = landlock_version()
    if version < _LEAST_VERSION:
        raise FileRulesError("this system has no Landlock, or an old one (Linux 5.19 is needed)")
    everything = _ALL_OF_VERSION_2 | (_TRUNCATE if version >= _TRUNCATE_VERSION else 0)
    rules = _call(_CREATE_RULESET, struct.pack("Q", everything), 8, 0)
    try:
        for path in read:
            _allow(rules, path, _READ)
        for path in write:
            _allow(rules, path, everything)
        if _libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise FileRulesError(os.strerror(ctypes.get_errno()))
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def landlock_version() -> int:
    """Of the kernel's rules; 0 where there are none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except FileRulesError:
        return 0


def _allow(rules: int, path: Path, access: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    may = access if path.is_dir() else access & _OF_FILES
    _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", may, folder), 0)


def _call(number: int, *arguments: object) -> int:
    """Raises FileRulesError."""
    words = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    result: int = _libc().syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise FileRulesError(os.strerror(ctypes.get_errno()))
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
