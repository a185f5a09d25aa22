"""CPU time and memory of each container while a run lasts, as the engine counts them."""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from docker.errors import APIError  # type: ignore[import-untyped]
from msgspec import Struct

from tests.load.sampler import Sampler
from tests.load.stack import Container

_EVERY_S = 2.0


class Moment(Struct, array_like=True):
    """CPU seconds and MiB by container's name; `at` on the monotonic clock. Containers that are down are not in it."""

    at: float
    cpu_s: dict[str, float]
    mib: dict[str, float]


class UsageSampler(Sampler[Moment]):
    def __init__(self, containers: Sequence[Container], every_s: float = _EVERY_S) -> None:
        super().__init__(every_s)
        self._containers = containers

    def look(self) -> Moment:
        moment = Moment(time.monotonic(), {}, {})
        for container in self._containers:
            try:
                stats = container.stats()
            except APIError:
                continue  # it is being started
            if stats.get("memory_stats", {}).get("usage"):
                moment.cpu_s[container.name] = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
                moment.mib[container.name] = used_bytes(stats["memory_stats"]) / 2**20
        return moment


def used_bytes(memory: dict[str, Any]) -> int:
    """As `docker stats` shows it: without the pages of files that can be given up. Of cgroups 1 and 2."""
    of = memory.get("stats", {})
    usage: int = memory["usage"]
    files: int = of.get("total_inactive_file", of.get("inactive_file", 0))
    return usage - min(usage, files)


def cores_used(moments: Sequence[Moment], begin: float, end: float) -> dict[str, float]:
    """Of each container, from the first to the last moment between the two; a counter that began again counts from 0."""
    inside = [m for m in moments if begin <= m.at <= end]
    if len(inside) < 2:
        return {}
    spent: dict[str, float] = {}
    for before, after in pairwise(inside):
        for name, seconds in after.cpu_s.items():
            more = seconds - before.cpu_s.get(name, seconds)
            spent[name] = spent.get(name, 0.0) + (more if more >= 0 else seconds)
    return {name: seconds / (inside[-1].at - inside[0].at) for name, seconds in spent.items()}
