"""What deletions took away, for whoever brings old events back: nothing that was deleted may return by that way.

The rules are those of deleting: see contract/deletions.py.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from services.contract.deletions import is_covered
from services.contract.log.envelope import EventLine
from services.contract.tables import DELETED_IDS, DELETIONS
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_time

# They travel in the address of the request.
_IDS_AT_ONCE = 100


class _Window(Struct, frozen=True):
    since: datetime
    until: datetime
    requested_at: datetime


async def deleted_lines(store: ClickHouse, lines: Sequence[EventLine]) -> list[bool]:
    """Of each line whether a deletion covers it. Raises StoreError."""
    ids_of: defaultdict[str, set[str]] = defaultdict(set)
    for line in lines:
        ids_of[line.project_id].add(line.distinct_id)
    people = {project: await _deleted_people(store, project, sorted(ids)) for project, ids in ids_of.items()}
    windows = {project: await _deleted_windows(store, project) for project in ids_of}
    return [
        _covers_person(people[line.project_id].get(line.distinct_id), line)
        or any(_covers_window(window, line) for window in windows[line.project_id])
        for line in lines
    ]


def _covers_person(requested_at: datetime | None, line: EventLine) -> bool:
    return requested_at is not None and is_covered(requested_at, line.received_at, line.timestamp)


def _covers_window(window: _Window, line: EventLine) -> bool:
    return line.received_at <= window.requested_at and window.since <= line.timestamp < window.until


async def _deleted_people(store: ClickHouse, project: str, ids: Sequence[str]) -> dict[str, datetime]:
    """When the latest deletion of each deleted id was asked for."""
    found: dict[str, datetime] = {}
    for at in range(0, len(ids), _IDS_AT_ONCE):
        rows = await store.rows(
            f"SELECT distinct_id, toUnixTimestamp64Micro(max(before)) FROM {DELETED_IDS} "
            "WHERE project_id = {project:String} AND distinct_id IN {ids:Array(String)} GROUP BY distinct_id",
            {"project": project, "ids": list(ids[at : at + _IDS_AT_ONCE])},
        )
        found |= {distinct_id: utc_time(before_us) for distinct_id, before_us in rows}
    return found


async def _deleted_windows(store: ClickHouse, project: str) -> list[_Window]:
    rows = await store.rows(
        "SELECT toUnixTimestamp64Micro(since), toUnixTimestamp64Micro(until), toUnixTimestamp64Micro(requested_at) "
        f"FROM {DELETIONS} FINAL WHERE project_id = {{project:String}} AND distinct_id = ''",
        {"project": project},
    )
    return [_Window(*map(utc_time, row)) for row in rows]
