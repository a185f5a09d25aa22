"""Results that are kept are those that would be made now, whatever happens to the data; and are not made again meanwhile."""

import json
import random
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import DELETED_IDS, EVENTS, IDENTITY_LOG, PERSON_IDS
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import own_rows, send_sql
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.oracle_people import Call, PeopleHistory
from tests.support.people import store_people
from tests.support.query_client import QueryClient

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = {"since": "2026-03-01", "until": "2026-04-01"}
PAYERS = {"did": "pay", **WINDOW}
TRENDS = {**WINDOW, "series": [{"event": None, "measure": "people"}], "breakdown": "n"}
QUERIES: list[tuple[str, dict[str, Any]]] = [
    ("trends", TRENDS),
    ("trends", {**TRENDS, "filter": {"person.plan": "pro"}}),
    ("trends", {**TRENDS, "cohort": {"saved": "list"}}),
    ("events", {**WINDOW, "limit": 500}),
    ("retention", {**WINDOW, "born_event": "view", "return_event": None, "first_time": True, "interval": "week"}),
    ("funnel", {**WINDOW, "steps": [{"event": "view"}, {"event": "pay"}], "conversion_window_seconds": 864_000}),
    ("path", {**WINDOW, "start_event": "view", "compare": "previous"}),
    ("cohort", {"cohort": {"and": [PAYERS, {"not": {"saved": "list"}}]}}),
    ("people", {"query": {"type": "trends", **TRENDS}, "limit": 100}),
]


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=60, query_catalog_every_s=3600) as client:
        yield client


@pytest.fixture(scope="module")
def fresh(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    """A service that keeps nothing."""
    with QueryClient.started(clickhouse, projects=60, query_max_kept_bytes=0, query_catalog_every_s=3600) as client:
        yield client


def ask(client: QueryClient, key: str, kind: str, body: Any, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.send("POST", f"{BASE_PATH}/query/{kind}", key, json=body, headers=sent)


def found(client: QueryClient) -> int:
    text = client.send("GET", "/metrics").text
    (number,) = re.findall(r'headrace_query_kept_results_total\{found="yes"\} (\S+)', text) or ["0"]
    return int(float(number))


def event(who: str, days: float, name: str = "view", **properties: Any) -> Event:
    return Event(str(uuid.uuid4()), name, who, MARCH + timedelta(days=days), json.dumps(properties))


def test_an_answer_is_made_once_and_not_sent_again(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    store(clickhouse, {project: History([event("u1", 1), event("u2", 2)])})
    first = ask(client, key, "trends", TRENDS)
    before = found(client)
    second = ask(client, key, "trends", TRENDS)
    assert (second.content, second.headers["etag"]) == (first.content, first.headers["etag"])
    assert found(client) == before + 1
    # The order of fields, and another way to say a time, make no other query.
    same = {**dict(reversed(TRENDS.items())), "since": "2026-03-01T00:00:00Z"}
    assert ask(client, key, "trends", same).headers["etag"] == first.headers["etag"]
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}'):
        not_modified = ask(client, key, "trends", TRENDS, if_none_match=known)
        assert (not_modified.status_code, not_modified.content) == (304, b"")
        assert not_modified.headers["etag"] == first.headers["etag"]
    table = ask(client, key, "trends", TRENDS, accept="text/csv")
    assert table.headers["etag"] != first.headers["etag"]
    assert ask(client, key, "trends", TRENDS, accept="text/csv", if_none_match=table.headers["etag"]).status_code == 304
    assert ask(client, key, "trends", TRENDS, accept="text/csv", if_none_match=first.headers["etag"]).text == table.text
    assert ask(client, key, "trends", TRENDS, if_none_match=table.headers["etag"]).content == first.content
    # What an answer shows of the query itself is part of it.
    warned = ask(client, key, "trends", {**TRENDS, "colour": 1})
    assert warned.json()["warnings"]
    assert warned.headers["etag"] != first.headers["etag"]
    _, other = next(client.projects)
    assert ask(client, other, "trends", TRENDS).headers["etag"] != first.headers["etag"]


def test_another_month_does_not_matter(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    store(clickhouse, {project: History([event("u1", 1)])})
    tag = ask(client, key, "trends", TRENDS).headers["etag"]
    of_funnel = ask(client, key, "funnel", QUERIES[5][1]).headers["etag"]
    of_first_time = ask(client, key, "retention", QUERIES[4][1]).headers["etag"]
    store(clickhouse, {project: History([event("u1", 33)])})
    assert ask(client, key, "trends", TRENDS, if_none_match=tag).status_code == 304
    # Its later steps may lie in April; and that one asks of all time.
    assert ask(client, key, "funnel", QUERIES[5][1], if_none_match=of_funnel).status_code == 200
    assert ask(client, key, "retention", QUERIES[4][1], if_none_match=of_first_time).status_code == 200
    store(clickhouse, {project: History([event("u1", 30.99)])})
    assert ask(client, key, "trends", TRENDS, if_none_match=tag).status_code == 200


def test_what_a_client_has_is_never_stale(
    client: QueryClient, fresh: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    """After whatever happens to the data, in some order, asking with the last tag gives what asking anybody else gives."""
    rng = random.Random(7)
    project, key = next(client.projects)
    events = [event(f"u{i % 9}", rng.uniform(-40, 60), rng.choice(["view", "pay"]), n=i % 3) for i in range(60)]
    store(clickhouse, {project: History(events)})

    def more() -> None:
        fresh_one = event(f"u{rng.randrange(9)}", rng.uniform(-40, 60), rng.choice(["view", "pay"]), n=rng.randrange(3))
        events.append(fresh_one)
        store(clickhouse, {project: History([fresh_one])})

    def again() -> None:
        store(clickhouse, {project: History([rng.choice(events)])})

    def merge() -> None:
        store(clickhouse, {project: History([], {f"u{rng.randrange(9)}": f"u{rng.randrange(9)}"})})

    def traits() -> None:
        call = Call(str(uuid.uuid4()), "identify", f"u{rng.randrange(9)}", MARCH, '{"plan":"pro"}')
        store_people(clickhouse, {project: PeopleHistory([], {}, [call])})

    def hide() -> None:
        sql = f"SELECT '{project}', 'u{rng.randrange(9)}', generateUUIDv4(), '2026-03-{rng.randrange(10, 30)}'"
        send_sql(clickhouse, f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) {sql}")

    def erase() -> None:
        where = f"project_id = '{project}' AND event_id = '{rng.choice(events).event_id}'"
        send_sql(
            clickhouse, f"ALTER TABLE {own_rows(clickhouse, EVENTS)} DELETE WHERE {where} SETTINGS mutations_sync = 1"
        )

    def optimize() -> None:
        send_sql(
            clickhouse, f"OPTIMIZE TABLE {own_rows(clickhouse, rng.choice([EVENTS, PERSON_IDS, IDENTITY_LOG]))} FINAL"
        )

    def listed() -> None:
        ids = [f"u{rng.randrange(9)}" for _ in range(3)]
        client.send("PUT", f"{BASE_PATH}/cohorts/list", key, json={"ids": ids})

    happenings: list[Callable[[], None]] = [more, again, merge, traits, hide, erase, optimize, listed]
    listed()
    had: dict[int, Any] = {}
    not_modified = 0
    last = "nothing"
    for happening in [*happenings, *rng.choices(happenings, k=2), more]:
        for i, (kind, body) in enumerate(QUERIES):
            for _ in range(2):  # the second time nothing has happened
                tag = had[i].headers.get("etag", "") if i in had else ""
                answer = ask(client, key, kind, body, if_none_match=tag)
                if answer.status_code == 304:
                    not_modified += 1
                else:
                    had[i] = answer
            assert had[i].content == ask(fresh, key, kind, body).content, (last, kind)
        happening()
        last = happening.__name__
    assert not_modified >= len(QUERIES) * 10


def test_of_dashboards_too(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    store(clickhouse, {project: History([event("u1", 1)])})
    queries = [{"type": "trends", **TRENDS}, {"type": "path", **WINDOW, "start_event": "view"}]
    dashboard_id = client.ask("/dashboard/create", key, {"name": "x", "queries": queries})["dashboard_id"]
    first = client.ask(f"/dashboard/run/{dashboard_id}", key, {})
    before = found(client)
    assert client.ask(f"/dashboard/run/{dashboard_id}", key, {}) == first
    assert found(client) == before + 2


def test_a_cluster_of_replicas_keeps_nothing(clickhouse: ClickHouseSettings) -> None:
    """Each has parts of its own."""
    with QueryClient.started(clickhouse, projects=1, clickhouse_cluster="c") as client:
        _, key = next(client.projects)
        assert "etag" not in ask(client, key, "trends", TRENDS).headers
