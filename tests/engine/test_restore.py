"""Events that ClickHouse has lost are stored again out of the log: those alone, and nothing that was deleted."""

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw

from services.contract.log.envelope import EventLine, pack
from services.contract.log.event_ids import fresh_ids
from services.contract.tables import DELETED_IDS, EVENTS
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from services.worker.events.restore import EventRestorer
from services.worker.record import Record
from tests.support.engine import as_role, send_sql

WINDOW_S = 86_400


def lines_of(project: str, ids: Sequence[bytes], person: str = "ann", age: timedelta = timedelta()) -> list[EventLine]:
    at = datetime.now(UTC) - age
    return [EventLine(project, i.hex(), "e", person, at, at, Raw(b"{}")) for i in ids]


def record(ids: Sequence[bytes], lines: Sequence[EventLine]) -> Record:
    packed = pack(ids, lines)
    return Record("events", 0, 0, packed.lines, packed.ids, lambda: None, time.time())


async def restore(clickhouse: ClickHouseSettings, *records: Record) -> int:
    store = ClickHouse(as_role(clickhouse, Role.WORKER))
    try:
        return await EventRestorer(store, WINDOW_S).store_missing(list(records))
    finally:
        await store.close()


def stored(clickhouse: ClickHouseSettings, project: str) -> list[str]:
    """Ids, those that lie there twice twice."""
    text = send_sql(clickhouse, f"SELECT event_id FROM {EVENTS} WHERE project_id = '{project}' FORMAT TSV")
    return sorted(uuid.UUID(line).hex for line in text.split())


@pytest.fixture
def project() -> str:
    return uuid.uuid4().hex


async def test_what_is_missing_is_stored_and_nothing_twice(clickhouse: ClickHouseSettings, project: str) -> None:
    ids = fresh_ids(9)
    first, second = record(ids[:5], lines_of(project, ids[:5])), record(ids[4:], lines_of(project, ids[4:]))
    assert await restore(clickhouse, first) == 5
    # One of them is in both records.
    assert await restore(clickhouse, first, second) == 4
    assert stored(clickhouse, project) == sorted(i.hex() for i in ids)
    assert await restore(clickhouse, first, second) == 0
    send_sql(clickhouse, f"ALTER TABLE {EVENTS} DELETE WHERE project_id = '{project}' SETTINGS mutations_sync = 1")
    assert await restore(clickhouse, first, second) == 9


async def test_a_duplicate_of_what_was_stored_long_before_is_not_stored(
    clickhouse: ClickHouseSettings, project: str
) -> None:
    ids = fresh_ids(2)
    assert await restore(clickhouse, record(ids[:1], lines_of(project, ids[:1], age=timedelta(hours=20)))) == 1
    assert await restore(clickhouse, record(ids, lines_of(project, ids))) == 1
    assert stored(clickhouse, project) == sorted(i.hex() for i in ids)


async def test_bad_lines_are_left_and_good_ones_stored(clickhouse: ClickHouseSettings, project: str) -> None:
    ids = fresh_ids(3)
    good = lines_of(project, ids)
    packed = pack(ids, good)
    texts = packed.lines.splitlines(keepends=True)
    broken = Record("events", 0, 0, texts[0] + b"{}\n" + texts[2], packed.ids, lambda: None, time.time())
    assert await restore(clickhouse, broken) == 2
    nothing = Record("events", 0, 1, None, None, lambda: None, time.time())
    assert await restore(clickhouse, nothing) == 0


async def test_what_was_deleted_stays_away(clickhouse: ClickHouseSettings, project: str) -> None:
    ids = fresh_ids(2)
    gone, here = lines_of(project, ids[:1], "gone"), lines_of(project, ids[1:], "here")
    send_sql(
        clickhouse,
        f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) "
        f"VALUES ('{project}', 'gone', generateUUIDv4(), now64(6))",
    )
    assert await restore(clickhouse, record(ids, gone + here)) == 1
    assert stored(clickhouse, project) == [ids[1].hex()]
