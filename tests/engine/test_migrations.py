"""Migrations on a real ClickHouse: one at a time, from the first release on with its data, and known to services."""

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import (
    DASHBOARDS,
    DELETED_IDS,
    DELETIONS,
    EVENTS,
    IDENTITY_LOG,
    PERSON_IDS,
    SCHEMA_MIGRATIONS,
)
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema import lock
from services.schema.agreement import UnknownSchemaError, agree_with_schema
from services.schema.files import load_migrations
from services.schema.migrate import migrate
from services.schema.roles import Role
from tests.support.engine import Server, as_role, insert_lines, new_database, send_sql
from tests.support.pipeline import eventually
from tests.support.query_client import QueryClient, insert_keys

# What version 0.1.0 (commit 04794e0) applied; a test of the unit tier keeps files that were applied as they are.
FIRST_RELEASE = 8
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def empty(clickhouse_server: Server) -> Iterator[ClickHouseSettings]:
    """A database without tables."""
    with new_database(clickhouse_server) as settings:
        yield settings


async def of_first_release(settings: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        files = load_migrations()[:FIRST_RELEASE]
        patched.setattr("services.schema.migrate.load_migrations", lambda cluster="": files)
        patched.setattr("services.schema.migrate._keep_spread", _nothing)
        assert len(await migrate(settings)) == FIRST_RELEASE


async def _nothing(*_: object) -> None: ...


def rows(settings: ClickHouseSettings, table: str, *of_table: Mapping[str, object]) -> None:
    insert_lines(settings, table, "\n".join(json.dumps(row, default=str) for row in of_table).encode())


def test_the_first_release_s_tables_migrate_with_their_data(
    empty: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if empty.clickhouse_cluster:
        pytest.skip("the first release made its tables on one server")
    asyncio.run(of_first_release(empty, monkeypatch))
    base = {"project_id": "shop", "received_at": AT.isoformat(), "timestamp": AT.isoformat()}
    rows(
        empty,
        EVENTS,
        *[
            {**base, "event_id": str(uuid.uuid4()), "event": "e", "distinct_id": one, "properties": '{"n":1}'}
            for one in ("a", "b", "c", "gone")
        ],
    )
    merge = {**base, "event_id": str(uuid.uuid4()), "kind": "alias", "old_id": "a", "distinct_id": "b"}
    traits = {**base, "event_id": str(uuid.uuid4()), "kind": "identify", "distinct_id": "c", "traits": '{"plan":"pro"}'}
    rows(empty, IDENTITY_LOG, merge, traits)
    rows(
        empty,
        PERSON_IDS,
        {"project_id": "shop", "distinct_id": "a", "person_id": "b", "version": 2**32 + 1, "merged_away": True},
        {"project_id": "shop", "distinct_id": "b", "person_id": "b", "version": 2**32 + 1, "name": "b", "roots": 1},
    )
    done, waiting = str(uuid.uuid4()), str(uuid.uuid4())
    deletion = {"project_id": "shop", "requested_at": (AT + timedelta(minutes=1)).isoformat(), "version": 2}
    rows(
        empty,
        DELETIONS,
        {**deletion, "deletion_id": done, "distinct_id": "gone", "finished_at": (AT + timedelta(hours=1)).isoformat()},
        {**deletion, "deletion_id": waiting, "distinct_id": "c"},
    )
    before = (AT + timedelta(minutes=1)).isoformat()
    rows(
        empty,
        DELETED_IDS,
        {"project_id": "shop", "distinct_id": "gone", "deletion_id": done, "before": before},
        {"project_id": "shop", "distinct_id": "c", "deletion_id": waiting, "before": before},
    )
    saved = {"type": "events", "since": "2026-01-01", "until": "2027-01-01"}
    board_id = str(uuid.uuid4())
    board = {
        "project_id": "shop",
        "dashboard_id": board_id,
        "name": "board",
        "queries": json.dumps([saved]),
        "version": 1,
    }
    rows(empty, DASHBOARDS, {**board, "created_at": AT.isoformat(), "updated_at": AT.isoformat()})

    assert len(asyncio.run(migrate(empty))) == len(load_migrations()) - FIRST_RELEASE
    assert asyncio.run(migrate(empty)) == []
    insert_keys(empty, [("shop", "hr_key", ["ingest", "query"])])
    with QueryClient.started(empty, projects=1) as client:
        window = {"since": "2026-01-01", "until": "2027-01-01"}
        found = client.ask("/query/events", "hr_key", window)["events"]
        assert sorted((e["distinct_id"], e["person_id"]) for e in found) == [("a", "b"), ("b", "b")]
        assert client.send("GET", f"{BASE_PATH}/dashboard/get/{board_id}", "hr_key").json()["name"] == "board"
        # The one that was under way is done by the new service.
        for deletion_id in (done, waiting):
            path = f"{BASE_PATH}/privacy/delete/{deletion_id}"
            eventually(lambda p=path: client.send("GET", p, "hr_key").json()["state"], lambda s: s == "done")  # type: ignore[misc]
    assert send_sql(empty, f"SELECT count() FROM {EVENTS} WHERE distinct_id = 'c'").strip() == "0"


async def test_two_migrations_at_once_wait_for_each_other(empty: ClickHouseSettings) -> None:
    applied = await asyncio.gather(*[migrate(empty) for _ in range(3)])
    names = [migration.name for migration in load_migrations()]
    assert sorted(name for each in applied for name in each) == names
    assert send_sql(empty, f"SELECT count() FROM {SCHEMA_MIGRATIONS}").strip() == str(len(names))


async def test_the_lock_of_a_migration_that_was_killed_is_taken_away(
    empty: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await ClickHouse.connect(empty, database="default")
    database = empty.clickhouse_database
    await store.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    await store.command(
        f"CREATE TABLE {database}.schema_lock (owner String, at DateTime64(3)) ENGINE = ReplacingMergeTree ORDER BY owner"
    )
    await store.close()
    monkeypatch.setattr(lock, "STALE_S", 1)
    assert await migrate(empty)


async def test_a_service_refuses_tables_that_it_does_not_know(clickhouse: ClickHouseSettings) -> None:
    for role in (Role.WORKER, Role.QUERY):
        await agree_with_schema(as_role(clickhouse, role))
    rows(clickhouse, SCHEMA_MIGRATIONS, {"name": "9999_future.sql", "checksum": "c"})
    with pytest.raises(UnknownSchemaError, match="9999_future"):
        await agree_with_schema(as_role(clickhouse, Role.QUERY))


async def test_a_service_waits_for_tables_that_are_older(empty: ClickHouseSettings) -> None:
    await migrate(empty)
    last = load_migrations()[-1].name
    send_sql(empty, f"ALTER TABLE {SCHEMA_MIGRATIONS} DELETE WHERE name = '{last}' SETTINGS mutations_sync = 1")
    starting = asyncio.create_task(agree_with_schema(as_role(empty, Role.WORKER)))
    await asyncio.sleep(0.5)
    assert not starting.done()
    await migrate(empty)
    await asyncio.wait_for(starting, 10)
