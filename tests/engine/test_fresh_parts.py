"""Where many parts are not merged yet, events are counted as distinct rows: the same numbers as FINAL gives."""

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from services.contract.tables import EVENTS
from services.query.execution.executor import Known, QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.project_facts import ProjectFacts
from services.query.insights.registry import parse_query
from services.query.insights.trends import run_trends
from services.query.sql.parameters import NONE_PROMOTED
from services.runtime.clickhouse import ClickHouse, Parameters
from services.runtime.settings import ClickHouseSettings, QuerySettings
from services.schema.roles import Role
from tests.support.engine import as_role, send_sql
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.query_client import QueryClient

BEGIN = datetime(2026, 3, 5, tzinfo=UTC)
WINDOW = {"since": "2026-03-01", "until": "2026-04-01", "interval": "month"}
COUNTED: dict[str, Any] = {"event": ["view", "pay"]}
FRESH = Known(fresh=True)


class Noting(ClickHouse):
    """Notes what it is asked."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        super().__init__(settings)
        self.asked: list[str] = []

    async def rows(self, sql: str, parameters: Parameters | None = None, settings: Any = None) -> Any:
        self.asked.append(sql)
        return await super().rows(sql, parameters, settings)


@pytest.fixture(scope="module", autouse=True)
def _unmerged(clickhouse: ClickHouseSettings) -> Iterator[None]:
    send_sql(clickhouse, f"SYSTEM STOP MERGES {EVENTS}")
    yield
    send_sql(clickhouse, f"SYSTEM START MERGES {EVENTS}")


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=4) as client:
        yield client


@pytest.fixture
async def noting(clickhouse: ClickHouseSettings) -> AsyncIterator[Noting]:
    store = Noting(as_role(clickhouse, Role.QUERY))
    yield store
    await store.close()


def history() -> History:
    """Two people view, one of them pays; one id comes again at another time, as long after its window."""
    again = str(uuid.uuid4())
    return History(
        [
            Event(str(uuid.uuid4()), "view", "ann", BEGIN, '{"plan":"pro"}'),
            Event(str(uuid.uuid4()), "view", "bob", BEGIN, '{"plan":"free"}'),
            Event(again, "pay", "ann", BEGIN + timedelta(seconds=1), '{"plan":"pro"}'),
            Event(again, "pay", "ann", BEGIN + timedelta(days=9), '{"plan":"pro"}'),
        ]
    )


def numbers(answer: Any) -> dict[str | None, float]:
    (series,) = answer["series"]
    return {line.get("value"): line["values"][0] for line in series["lines"]}


@pytest.mark.parametrize(
    ("measure", "all_lines", "by_plan"),
    [
        ("count", 4, {"pro": 3, "free": 1}),
        ("per_person", 2, {"pro": 3, "free": 1}),
        ("people", 2, {"pro": 1, "free": 1}),
    ],
)
def test_rows_that_are_stored_twice_are_counted_once(
    client: QueryClient, clickhouse: ClickHouseSettings, measure: str, all_lines: float, by_plan: dict[str, float]
) -> None:
    project, key = next(client.projects)
    stored = history()
    for _ in range(3):
        store(clickhouse, {project: stored})
    body = {**WINDOW, "series": [{**COUNTED, "measure": measure}]}
    assert numbers(client.ask("/query/trends", key, body)) == {None: all_lines}
    assert numbers(client.ask("/query/trends", key, {**body, "breakdown": "plan"})) == by_plan


async def test_it_is_not_final_that_counts_them(clickhouse: ClickHouseSettings, noting: Noting) -> None:
    project = "fresh-parts"
    stored = history()
    for _ in range(3):
        store(clickhouse, {project: stored})
    executor = QueryExecutor(noting, Limits.of(QuerySettings()), ProjectFacts(noting, 60))
    for measure, is_final in (("count", False), ("per_person", False), ("sum", True), ("people", False)):
        series = {**COUNTED, "measure": measure, **({"property": "plan"} if measure == "sum" else {})}
        spec = parse_query("trends", json.dumps({**WINDOW, "series": [series]}).encode(), project)[0]
        for known, expected in ((FRESH, is_final), (Known(), measure != "people")):
            noting.asked.clear()
            result = await run_trends(executor.knowing(known), project, spec, NONE_PROMOTED)
            assert any("AS e FINAL" in sql for sql in noting.asked) == expected
            assert result.series[0].lines[0].values == [{"count": 4, "per_person": 2, "sum": 0.0, "people": 2}[measure]]


async def test_more_rows_than_memory_holds_are_counted_by_final(clickhouse: ClickHouseSettings, noting: Noting) -> None:
    project, rows = "many-fresh-parts", 300_000
    insert = (
        f"INSERT INTO {EVENTS} (project_id, event_id, event, distinct_id, timestamp, properties) "
        f"SELECT '{project}', reinterpretAsUUID(sipHash128(number)), 'view', toString(number % 100), "
        f"toDateTime64('2026-03-05', 6, 'UTC') + number % 86400, '{{}}' FROM numbers({rows})"
    )
    for _ in range(2):
        send_sql(clickhouse, insert)
    spec = parse_query("trends", json.dumps({**WINDOW, "series": [{"event": "view"}]}).encode(), project)[0]
    limits = replace(Limits.of(QuerySettings()), memory_bytes=12 * 1024**2)
    executor = QueryExecutor(noting, limits, ProjectFacts(noting, 60)).knowing(FRESH)
    result = await run_trends(executor, project, spec, NONE_PROMOTED)
    assert result.series[0].lines[0].values == [rows]
    assert [" FINAL" in sql for sql in noting.asked if EVENTS in sql] == [False, True]
