"""What Linux knows of a process: CPU time, resident memory, and the cores that it may run on."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from msgspec import Struct

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, the ended ones too. Raises OSError when the process is gone."""
    # Linux's number of the process's clock of CPU time (clock_getcpuclockid): nanoseconds, where /proc has 10 ms.
    return time.clock_gettime(~pid << 3 | 2)


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def tree_of(pid: int) -> list[int]:
    """The process and all that it has started. Raises psutil.NoSuchProcess when it is gone."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def pin(pid: int, cores: set[int]) -> None:
    """All threads; later ones inherit. Repeated until no thread was made meanwhile."""
    seen: set[str] = set()
    while (threads := set(os.listdir(f"/proc/{pid}/task"))) - seen:
        for thread in threads - seen:
            try:
                os.sched_setaffinity(int(thread), cores)
            except ProcessLookupError:
                continue
        seen |= threads


def two_cores() -> tuple[int, int]:
    """The cores that the benchmark runs on; the same one twice where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[min(1, len(cores) - 1)]


class Usage(Struct, frozen=True):
    """CPU time and memory of some named processes at one moment."""

    cpu_s: dict[str, float]
    rss_mib: dict[str, float]


def usage_of(pids: Mapping[str, int]) -> Usage:
    return usage_of_groups({name: [pid] for name, pid in pids.items()})


def usage_of_groups(groups: Mapping[str, Sequence[int]]) -> Usage:
    """As `usage_of`, of several processes under each name."""
    return Usage(
        {name: sum(cpu_seconds(pid) for pid in pids) for name, pids in groups.items()},
        {name: round(sum(rss_bytes(pid) for pid in pids) / 2**20, 1) for name, pids in groups.items()},
    )


def cpu_us_per(before: Usage, after: Usage, count: float) -> dict[str, float]:
    """Microseconds of CPU that each process spent on one of `count` things."""
    return {
        name: round((after.cpu_s[name] - before.cpu_s[name]) * 1e6 / max(count, 1), 3)
        for name in before.cpu_s
        if name in after.cpu_s
    }
