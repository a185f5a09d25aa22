"""What each project has sent through this process: events that were accepted, and the bytes that they came in.

A request adds to two numbers. Metrics, the quota and `headrace usage` follow from these every few seconds.
"""

import asyncio
from collections.abc import Iterator

from services.edge.loop_metrics import LoopCounter
from services.runtime.project_labels import ProjectLabels

_EVERY_S = 2.0
EVENTS = LoopCounter("headrace_edge_project_events", "Events that were accepted, by project.", ["project"])
BYTES = LoopCounter("headrace_edge_project_bytes", "Bytes of the bodies of accepted events, by project.", ["project"])


class Used:
    """Of one project. `told_...`: what of it the metrics have."""

    __slots__ = ("bytes", "events", "told_bytes", "told_events")

    def __init__(self) -> None:
        self.events = self.bytes = self.told_events = self.told_bytes = 0


class Usage:
    """Belongs to one event loop. Has as many entries as there are projects with keys."""

    def __init__(self, labels: ProjectLabels | None = None) -> None:
        self._used: dict[str, Used] = {}
        self._labels = labels or ProjectLabels()

    def add(self, project_id: str, events: int, size: int) -> None:
        used = self._used.get(project_id)
        if used is None:
            used = self._used[project_id] = Used()
        used.events += events
        used.bytes += size

    def events_of(self, project_id: str) -> int:
        used = self._used.get(project_id)
        return 0 if used is None else used.events

    async def tell_forever(self) -> None:
        while True:
            self.tell_metrics()
            await asyncio.sleep(_EVERY_S)

    def of_all(self) -> Iterator[tuple[str, Used]]:
        return iter(self._used.items())

    def tell_metrics(self) -> None:
        """What came since the last time."""
        for project_id, used in self._used.items():
            if used.events == used.told_events and used.bytes == used.told_bytes:
                continue
            label = self._labels.of(project_id)
            EVENTS.labels(label).inc(used.events - used.told_events)
            BYTES.labels(label).inc(used.bytes - used.told_bytes)
            used.told_events, used.told_bytes = used.events, used.bytes
