"""The other ways of the query benchmark mean what the service means, also where its history has no such events."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.contract.tables import EVENTS, PERSON_IDS
from services.runtime.settings import ClickHouseSettings
from tests.bench.query import comparable
from tests.bench.query.history import CONVERSION, FUNNEL, PROJECT, SINCE, UNTIL
from tests.bench.query.queries import QUERIES
from tests.bench.query.same_answer import AnswersDifferError, same_funnel, same_paths
from tests.support.engine import insert_lines, send_sql
from tests.support.query_client import QueryClient

_AT = datetime(2025, 10, 7, tzinfo=UTC)
_US = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def asked(clickhouse: ClickHouseSettings) -> Iterator[tuple[QueryClient, str, ClickHouseSettings]]:
    with QueryClient.started(clickhouse, projects=1) as client:
        project, key = next(client.projects)
        assert project == PROJECT
        insert_lines(clickhouse, EVENTS, "\n".join(map(json.dumps, _events())).encode())
        same = {"project_id": PROJECT, "person_id": "browser", "version": 1}
        ids = [json.dumps({**same, "distinct_id": one}) for one in ("browser", "user")]
        insert_lines(clickhouse, PERSON_IDS, "\n".join(ids).encode())
        yield client, key, clickhouse


def _events() -> Iterator[dict[str, Any]]:
    def event(who: str, name: str, at: datetime, received: int = 0, number: int | None = None) -> dict[str, Any]:
        """`number`: the events' order by id, else that of the steps."""
        times = {"timestamp": at.isoformat(), "received_at": (UNTIL + CONVERSION + received * _US).isoformat()}
        there = {"project_id": PROJECT, "distinct_id": who, "event": name, "properties": "{}", **times}
        place = FUNNEL.index(name) if number is None else number
        return {**there, "event_id": str(uuid.UUID(int=place << 120 | uuid.uuid4().int >> 8))}

    for i, name in enumerate(FUNNEL):
        yield event("by receipt", name, _AT, i, 9 - i)
        yield event("against receipt", name, _AT, 9 - i, i)
        yield event("by id", name, _AT, 0, i)
        yield event("against id", name, _AT, 0, 9 - i)
        yield event("after the window", name, UNTIL - _US + i * timedelta(days=1))
        yield event("begins too late", name, UNTIL + i * timedelta(days=1))
        yield event("just in time", name, _AT + (i == len(FUNNEL) - 1) * CONVERSION)
        yield event("just too late", name, _AT + (i == len(FUNNEL) - 1) * (CONVERSION + _US))
        yield event("browser" if i < 2 else "user", name, _AT + i * timedelta(hours=1))
        # A later start must not take the place of one that had come further, nor an earlier one hold it back.
        yield event("twice", name, _AT + i * timedelta(days=1.5))
        yield event("twice", name, SINCE + (i < 3) * timedelta(hours=i))


def _ask(asked: tuple[QueryClient, str, ClickHouseSettings], name: str, sql: str) -> tuple[Any, list[Any]]:
    client, key, clickhouse = asked
    query = next(query for query in QUERIES if query.name == name)
    lines = send_sql(clickhouse, f"{sql} FORMAT JSONCompactEachRow").splitlines()
    return client.ask(query.path, key, query.body), [json.loads(line) for line in lines]


def test_funnel(asked: tuple[QueryClient, str, ClickHouseSettings]) -> None:
    answer, rows = _ask(asked, "funnel of 5 steps", comparable.array_funnel())
    # Against receipt or id nobody gets beyond the first step.
    assert [step["people"] for step in answer["steps"]] == [9, 7, 7, 7, 6]
    same_funnel(answer, rows)


def test_windowfunnel_alone_is_another_query(asked: tuple[QueryClient, str, ClickHouseSettings]) -> None:
    answer, rows = _ask(asked, "funnel of 5 steps", comparable.window_funnel())
    with pytest.raises(AnswersDifferError):
        same_funnel(answer, rows)


def test_paths(asked: tuple[QueryClient, str, ClickHouseSettings]) -> None:
    answer, rows = _ask(asked, "path depth 5", comparable.array_paths())
    assert answer["count"] == 9
    same_paths(answer, rows)
