"""What a page of events asks of a cluster: times of the shard that it is asked of, events of all shards."""

import asyncio
import json
from typing import Any, cast

from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.project_facts import ProjectFacts
from services.query.insights.events import run_events
from services.query.insights.registry import parse_query
from services.query.sql.parameters import NONE_PROMOTED
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import QuerySettings


class Noting:
    """In the place of a ClickHouse: notes what it is asked, and finds nothing."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.asked: list[str] = []

    async def rows(self, sql: str, *_: object) -> list[Any]:
        self.asked.append(sql)
        return []


def asked_of(cluster: str, **body: Any) -> str:
    noting = Noting(cluster)
    store = cast("ClickHouse", noting)
    executor = QueryExecutor(store, Limits.of(QuerySettings()), ProjectFacts(store, 60))
    window = {"since": "2024-01-01", "until": "2024-02-01"}
    query, _ = parse_query("events", json.dumps({**window, **body}).encode(), "project")
    asyncio.run(run_events(executor, "project", query, NONE_PROMOTED))
    return next(sql for sql in noting.asked if "so_far" in sql)


def test_times_are_those_of_the_shard_that_is_asked() -> None:
    sql = asked_of("shop")
    times, _, events = sql.partition(") AS bound ")
    assert "FROM events_local AS e WHERE" in times
    assert "FROM events AS e" not in times
    assert "FROM events AS e FINAL" in events
    assert "events_local" not in events


def test_one_server_has_one_table() -> None:
    assert "events_local" not in asked_of("")


def test_without_a_bound_all_shards_are_asked() -> None:
    assert "events_local" not in asked_of("shop", filter={"plan": "pro"})
