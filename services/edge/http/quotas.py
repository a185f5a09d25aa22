"""The events that a project may send on one day (UTC), through all edges together.

Each edge writes what it has accepted into the table `usage`, and reads what the others have. Between two looks it goes by
its own count. So no request waits for the store, and a project gets a little more than its quota: what the others accept
until they are looked at again. docs/decisions/0041-quotas-of-a-day.md says how much that is.

What has no quota costs one look at an empty dict for each request.
"""

import asyncio
import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import msgspec
from prometheus_client import Gauge

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.tables import USAGE
from services.edge.http.usage import Usage
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.clock import Clock
from services.runtime.logs import get_logger
from services.runtime.project_labels import ProjectLabels
from services.runtime.project_limits import ProjectLimits, events_day_of, read_limits
from services.runtime.retry import repeat_forever

log = get_logger(__name__)
USED = Gauge(
    "headrace_edge_quota_used_ratio",
    "Events of today (UTC) of a project with a quota, as a part of that, over all edges.",
    ["project"],
)
# What a dead letter says of an event that is put aside.
PUT_ASIDE = ApiError(ErrorCode.QUOTA_EXCEEDED, "The project had sent the events that it may send on this day (UTC).")
_EVERY_S = 5.0
# Where nobody has a quota nobody waits for the numbers.
_WRITE_EVERY_S = 60.0
# A client that waits until midnight would not see that its quota was raised.
_MOST_RETRY_AFTER_S = 3600
_COLUMNS = ("day", "project_id", "edge", "events", "bytes", "version")
_OTHERS_SQL = (
    f"SELECT project_id, sum(events) FROM {USAGE} FINAL "
    "WHERE day = {day:Date} AND edge != {edge:String} GROUP BY project_id"
)
_encode = msgspec.json.Encoder().encode_lines
# Events and bytes.
Pair = tuple[int, int]
_NOTHING: Pair = (0, 0)


class Quotas:
    """Belongs to one event loop. `default`: of projects without a limit of their own; 0: none."""

    def __init__(self, store: ClickHouse, usage: Usage, default: int, clock: Clock) -> None:
        self._store = store
        self.usage = usage
        self._default = default
        self._clock = clock
        self._edge = uuid.uuid4().hex
        self._day = clock().date()
        # What the process had counted of each project when the day began; what of today is written.
        self._before: dict[str, Pair] = {}
        self._written: dict[str, Pair] = {}
        self._unwritten: dict[tuple[date, str], Pair] = {}
        # Up to which count of this process events of a project are taken today.
        self._allowed: dict[str, int] = {}
        self._labels = ProjectLabels()
        self._wrote_at = 0.0
        self._version = 0

    def check(self, project_id: str) -> None:
        """Before events are kept. Raises ApiError 429 when the project has sent what it may send today."""
        if self._allowed and self.is_used_up(project_id):
            raise self.refusal()

    def is_used_up(self, project_id: str) -> bool:
        allowed = self._allowed.get(project_id)
        return allowed is not None and self.usage.events_of(project_id) >= allowed and self._day == self._today()

    def refusal(self) -> ApiError:
        now = self._clock()
        midnight = datetime(now.year, now.month, now.day, tzinfo=now.tzinfo) + timedelta(days=1)
        return ApiError(
            ErrorCode.QUOTA_EXCEEDED,
            "This project has sent the events that it may send today (UTC). Keep these, and send them again later with the "
            "same keys. An operator can raise the quota: `headrace projects set`.",
            retry_after_s=min(_MOST_RETRY_AFTER_S, int((midnight - now).total_seconds()) + 1),
        )

    def _today(self) -> date:
        return self._clock().date()

    # --- In the background ---

    async def run_forever(self) -> None:
        """Goes on by its own count while ClickHouse is away."""
        await repeat_forever(self.refresh, (StoreError,), _EVERY_S, log, "usage_not_kept")

    async def refresh(self) -> None:
        """Read the limits, write what this process has counted, read what the others have. Raises StoreError."""
        self._turn_day()
        limits = await read_limits(self._store)
        has_quotas = bool(self._default) or any(limit.events_day for limit in limits.values())
        now_s = asyncio.get_running_loop().time()
        if has_quotas or now_s - self._wrote_at >= _WRITE_EVERY_S:
            await self.write()
            self._wrote_at = now_s
        if has_quotas:
            await self._look_at_others(limits)
        else:
            self._allowed = {}
            USED.clear()

    def _turn_day(self) -> None:
        """What came since the last look before midnight counts for the old day: some seconds' worth."""
        today = self._today()
        if today == self._day:
            return
        self._gather()
        self._before = {project: (used.events, used.bytes) for project, used in self.usage.of_all()}
        self._written, self._day, self._allowed = {}, today, {}

    def _gather(self) -> None:
        """Put what differs from what is written to what is to be written."""
        for project, used in self.usage.of_all():
            events, size = self._before.get(project, _NOTHING)
            today = used.events - events, used.bytes - size
            if today != self._written.get(project, _NOTHING):
                self._unwritten[self._day, project] = self._written[project] = today

    async def write(self) -> None:
        """Raises StoreError: then it is written the next time."""
        self._gather()
        rows = dict(self._unwritten)
        if not rows:
            return
        self._version = max(self._version + 1, int(self._clock().timestamp() * 1e6))
        lines = [
            dict(zip(_COLUMNS, (day, project, self._edge, events, size, self._version), strict=True))
            for (day, project), (events, size) in rows.items()
        ]
        await self._store.insert_lines(USAGE, _COLUMNS, _encode(lines))
        self._unwritten = {key: pair for key, pair in self._unwritten.items() if rows.get(key) != pair}

    async def _look_at_others(self, limits: Mapping[str, ProjectLimits]) -> None:
        rows = await self._store.rows(_OTHERS_SQL, {"day": self._day, "edge": self._edge})
        others: dict[str, int] = {project: int(events) for project, events in rows}
        own = {project for project, _ in self.usage.of_all()}
        allowed: dict[str, int] = {}
        ratios: dict[str, float] = {}
        for project in {*others, *own, *limits}:
            quota = events_day_of(limits, project, self._default)
            if quota:
                before = self._before.get(project, _NOTHING)[0]
                allowed[project] = before + quota - others.get(project, 0)
                sent = others.get(project, 0) + self.usage.events_of(project) - before
                label = self._labels.of(project)
                ratios[label] = max(ratios.get(label, 0.0), sent / quota)
        self._allowed = allowed
        USED.clear()
        for label, ratio in ratios.items():
            USED.labels(label).set(ratio)
