"""What has expired is in no answer of a service that has just started, nor of one that cannot read the borders."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from services.contract.tables import EXPIRED
from services.query.execution.executor import Known, QueryExecutor
from services.query.execution.fingerprint import Fingerprints
from services.query.execution.limits import Limits
from services.query.execution.project_facts import MANY_DELETED_IDS, ProjectFacts
from services.query.sql.events import EVENTS_ONCE, SHOWN
from services.runtime.clickhouse import ClickHouse, StoreError, StoreUnavailableError
from services.runtime.settings import ClickHouseSettings, QuerySettings
from services.schema.roles import Role
from tests.support.engine import as_role, opened_store, send_sql
from tests.support.histories import store
from tests.support.oracle import Event, History

KEPT_SINCE = datetime(2024, 2, 9, tzinfo=UTC)
_SQL = f"SELECT count() FROM {EVENTS_ONCE} WHERE e.project_id = {{project:String}} AND {SHOWN}"
_OF_PROJECT = {"project": "borders"}


def executor(found: ClickHouse) -> QueryExecutor:
    return QueryExecutor(found, Limits.of(QuerySettings()), ProjectFacts(found, 60))


@pytest.fixture
def query_user(clickhouse: ClickHouseSettings) -> ClickHouseSettings:
    times = (KEPT_SINCE - timedelta(microseconds=1), KEPT_SINCE)
    store(clickhouse, {"borders": History([Event(str(uuid.uuid4()), "a", "u1", time, "{}") for time in times])})
    send_sql(
        clickhouse,
        f"INSERT INTO {EXPIRED} (project_id, kept_since, rewritten_to, version) "
        f"VALUES ('borders', '{KEPT_SINCE:%Y-%m-%d} 00:00:00', '1970-01-01 00:00:00', 1)",
    )
    return as_role(clickhouse, Role.QUERY)


async def test_the_first_answer_waits_for_the_borders(query_user: ClickHouseSettings) -> None:
    async with opened_store(query_user) as found:
        assert await executor(found).rows(_SQL, _OF_PROJECT) == [(1,)]
        assert await executor(found).raw(_SQL, _OF_PROJECT, "TSV") == b"1\n"


async def test_a_statement_that_asks_for_no_border_is_refused(query_user: ClickHouseSettings) -> None:
    async with opened_store(query_user) as found:
        with pytest.raises(StoreError):
            await found.rows(_SQL, _OF_PROJECT)


async def test_without_borders_there_is_no_answer() -> None:
    async with opened_store(ClickHouseSettings(clickhouse_url="http://127.0.0.1:1")) as away:
        with pytest.raises(StoreUnavailableError):
            await executor(away).rows(_SQL, _OF_PROJECT)


async def test_a_project_with_many_deleted_ids_is_asked_with_a_join(clickhouse: ClickHouseSettings) -> None:
    """One whose event is of before its deletion, one who came back, somebody else, and an event that has no receipt."""
    few, many, now = "few-deleted", "many-deleted", datetime.now(UTC)
    moments = {"gone": now - timedelta(days=2), "back": now, "else": now - timedelta(days=2)}
    for project in (few, many):
        events = [Event(str(uuid.uuid4()), "a", who, at, "{}") for who, at in moments.items()]
        store(clickhouse, {project: History(events)})
        send_sql(
            clickhouse,
            "INSERT INTO events (project_id, event_id, event, distinct_id, timestamp) "
            f"VALUES ('{project}', generateUUIDv4(), 'a', 'foreign', now64(6))",
        )
        others = MANY_DELETED_IDS + 1 if project == many else 0
        send_sql(
            clickhouse,
            "INSERT INTO deleted_ids (project_id, distinct_id, deletion_id, before) SELECT "
            f"'{project}', arrayJoin(arrayConcat(['gone', 'back'], arrayMap(x -> 'id ' || toString(x), range({others})))), "
            f"generateUUIDv4(), fromUnixTimestamp64Micro({int((now - timedelta(hours=5)).timestamp() * 1e6)}, 'UTC')",
        )
    sql = f"SELECT e.distinct_id FROM {EVENTS_ONCE} WHERE e.project_id = {{project:String}} AND {SHOWN} ORDER BY 1"
    async with opened_store(as_role(clickhouse, Role.QUERY)) as found:
        facts = ProjectFacts(found, 60)
        await facts.refresh()
        assert (facts.has_many_deleted(few), facts.has_many_deleted(many)) == (False, True)
        asked = QueryExecutor(found, Limits.of(QuerySettings()), facts)
        for project in (few, many):
            assert await asked.rows(sql, {"project": project}) == [("back",), ("else",), ("foreign",)]


async def test_a_deletion_hides_from_the_next_answer_on(clickhouse: ClickHouseSettings) -> None:
    """Also in a project that had none before, and none of another project's are looked at for it."""
    first, second = "first-deletion", "no-deletion"
    now = datetime.now(UTC)
    for project in (first, second):
        events = [Event(str(uuid.uuid4()), "a", who, now - timedelta(days=2), "{}") for who in ("gone", "else")]
        store(clickhouse, {project: History(events)})
    sql = f"SELECT e.distinct_id FROM {EVENTS_ONCE} WHERE e.project_id = {{project:String}} AND {SHOWN} ORDER BY 1"
    async with opened_store(as_role(clickhouse, Role.QUERY)) as found:
        facts, fingerprints = ProjectFacts(found, 60), Fingerprints(found)
        asked = QueryExecutor(found, Limits.of(QuerySettings()), facts)

        async def of(project: str) -> tuple[bool, list[str]]:
            fingerprint = await fingerprints.read(None)
            assert fingerprint is not None
            none = await facts.nothing_deleted(project, fingerprint.deletions)
            rows = await asked.knowing(Known(nothing_deleted=none)).rows(sql, {"project": project})
            return none, [who for (who,) in rows]

        assert [await of(project) for project in (first, second)] == [(True, ["else", "gone"])] * 2
        send_sql(
            clickhouse,
            "INSERT INTO deleted_ids (project_id, distinct_id, deletion_id, before) "
            f"VALUES ('{first}', 'gone', generateUUIDv4(), now64(6))",
        )
        assert await of(first) == (False, ["else"])
        assert await of(second) == (True, ["else", "gone"])


async def test_where_deletions_cannot_be_read_they_are_looked_for() -> None:
    async with opened_store(ClickHouseSettings(clickhouse_url="http://127.0.0.1:1")) as away:
        assert not await ProjectFacts(away, 60).nothing_deleted("p", 1)
