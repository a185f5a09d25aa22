"""What Linux knows of a process: CPU time, resident memory, and the cores that it may run on."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, to 10 ms. Raises OSError when the process is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


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
    return Usage(
        {name: cpu_seconds(pid) for name, pid in pids.items()},
        {name: round(rss_bytes(pid) / 2**20, 1) for name, pid in pids.items()},
    )


def cpu_us_per(before: Usage, after: Usage, count: float) -> dict[str, float]:
    """Microseconds of CPU that each process spent on one of `count` things."""
    return {
        name: round((after.cpu_s[name] - before.cpu_s[name]) * 1e6 / max(count, 1), 3)
        for name in before.cpu_s
        if name in after.cpu_s
    }
