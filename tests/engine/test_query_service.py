"""The query service over HTTP: who may ask, what is refused, what it says of itself."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.query_endpoints import QUERY_CALLS
from services.contract.tables import EVENTS
from services.query.execution.executor import QueryExecutor
from services.query.http.requests import MAX_BODY_BYTES
from services.query.insights.registry import INSIGHTS
from services.runtime.clickhouse import Parameters
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import send_sql
from tests.support.query_client import QueryClient, insert_keys

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
BODIES: dict[str, dict[str, Any]] = {
    "/query/events": WINDOW,
    "/query/retention": {**WINDOW, "born_event": "a", "return_event": "b"},
    "/query/path": {**WINDOW, "start_event": "a"},
    "/query/cohort": {"cohort": {"did": "a", **WINDOW}},
    "/query/funnel": {**WINDOW, "steps": [{"event": "a"}, {"event": "b"}]},
    "/query/trends": {**WINDOW, "series": [{"event": "a"}]},
    "/dashboard/create": {"name": "x", "queries": []},
}


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    insert_keys(
        clickhouse, [("p", "query", ["query"]), ("p", "both", ["query", "ingest"]), ("p", "ingest", ["ingest"])]
    )
    with QueryClient.started(clickhouse) as client:
        yield client


def address(path: str) -> str:
    return BASE_PATH + path.replace("{dashboard_id}", "DASHBOARD_ID")


@pytest.mark.parametrize("call", QUERY_CALLS, ids=lambda call: call.name)
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"authorization": "Bearer nobody"}, 401, "unauthorized"),
        ({"authorization": "Basic query"}, 401, "unauthorized"),
        ({"authorization": "Bearer "}, 401, "unauthorized"),
        ({"authorization": "Bearer ingest"}, 403, "forbidden"),
    ],
)
def test_who_may_not_ask(client: QueryClient, call: Any, headers: dict[str, str], status: int, code: str) -> None:
    response = client.send(call.method, address(call.path), headers=headers, content=b"{")
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["x-request-id"] == response.json()["request_id"]


@pytest.mark.parametrize("call", QUERY_CALLS, ids=lambda call: call.name)
def test_of_two_headers_none_counts(client: QueryClient, call: Any) -> None:
    for given in (["both", "both"], ["both", "nobody"], ["nobody", "both"]):
        headers = [("authorization", f"Bearer {key}") for key in given]
        response = client.run(client.http.request(call.method, address(call.path), headers=headers, content=b"{}"))
        assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
        assert "one Authorization header" in response.json()["error"]["message"]


@pytest.mark.parametrize("key", ["query", "both"])
def test_who_may_ask(client: QueryClient, key: str) -> None:
    for path, body in BODIES.items():
        client.ask(path, key, body)


def test_the_answers_of_an_empty_project(client: QueryClient) -> None:
    _, key = next(client.projects)
    assert client.ask("/query/events", key, WINDOW) == {"events": []}
    retention = {**BODIES["/query/retention"], "until": "2024-01-03", "timezone": "Asia/Tokyo"}
    assert client.ask("/query/retention", key, retention) == {
        "matrix": [[0, 0], [0]],
        "interval": "day",
        "periods": ["2024-01-01T00:00:00+09:00", "2024-01-02T00:00:00+09:00"],
        "complete": [True, True],
    }
    assert client.ask("/query/path", key, BODIES["/query/path"]) == {
        **{"root": "a", "count": 0, "drop_off": 0, "continued": 0, "other": 0},
        "children": [],
    }
    nobody = {"people": 0, "drop_off": 0, "conversion_from_start": None, "conversion_from_before": None}
    nobody.update({"median_seconds": None, "p90_seconds": None})
    assert client.ask("/query/funnel", key, {**BODIES["/query/funnel"], "breakdown": "x", "people_of_step": 2}) == {
        "order": "ordered",
        "steps": [{**nobody, "event": "a"}, {**nobody, "event": "b"}],
        "breakdown": [],
        "listed": {"step": 2, "people": [], "more": False},
    }
    trends = {**BODIES["/query/trends"], "interval": "month"}
    assert client.ask("/query/trends", key, trends)["series"] == [
        {"event": "a", "measure": "count", "lines": [{"kind": "all", "values": [0.0]}]}
    ]
    assert client.ask("/query/trends", key, {**trends, "breakdown": "x"})["series"][0]["lines"] == []
    listed = client.send("GET", address("/dashboard/list"), key)
    assert listed.json() == {"items": []}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/query/events", 405, "method_not_allowed"),
        ("PUT", "/dashboard/create", 405, "method_not_allowed"),
        ("POST", "/dashboard/list", 405, "method_not_allowed"),
        ("POST", "/query/nothing", 404, "not_found"),
        ("GET", "/dashboard/get", 404, "not_found"),
        ("GET", "/dashboard/get/DASHBOARD_ID", 404, "not_found"),
        ("GET", "/dashboard/get/%00", 404, "not_found"),
        ("GET", "/dashboard/get/%ff%fe", 404, "not_found"),
        ("GET", "/dashboard/get/a/b", 404, "not_found"),
    ],
)
def test_no_such_address(client: QueryClient, method: str, path: str, status: int, code: str) -> None:
    response = client.send(method, BASE_PATH + path, "query")
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({}, b"", 400, "invalid_json"),
        ({}, b"{nothing", 400, "invalid_json"),
        ({"content-type": "application/json; charset=utf-8"}, b"{}", 400, "missing_field"),
        ({"content-type": "text/csv"}, b"{}", 415, "unsupported_media_type"),
        ({"content-type": "application/x-www-form-urlencoded"}, b"{}", 415, "unsupported_media_type"),
        ({"content-encoding": "gzip"}, b"{}", 415, "unsupported_encoding"),
        ({}, gzip.compress(b"{}"), 415, "unsupported_encoding"),
        ({}, "{}".encode("utf-16"), 400, "invalid_json"),
        ({}, b" " * (MAX_BODY_BYTES + 1), 413, "body_too_large"),
        ({"content-length": "1" * 15}, b"{}", 413, "body_too_large"),
        ({}, b'{"a":' * 20_000, 400, "too_deep"),
    ],
)
def test_bodies_that_are_refused(
    client: QueryClient, path: str, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    response = client.send("POST", BASE_PATH + path, "query", headers=headers, content=content)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_a_body_that_grows_too_large_is_refused_while_it_is_read(client: QueryClient) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 65_536

    response = client.send("POST", address("/query/events"), "query", content=endless())
    assert response.status_code == 413
    assert sent < 30


def test_unknown_fields_are_named_in_each_answer(client: QueryClient) -> None:
    for path, body in BODIES.items():
        answer = client.ask(path, "query", {**body, "colour": "red"})
        assert answer["warnings"] == ["unknown field `colour` ignored"]


def test_the_pages_examples_without_their_dots(client: QueryClient) -> None:
    """`...` stands for a time on the API page; sent as it is, the answer says what to send."""
    for path, body in BODIES.items():
        if "since" in body:
            response = client.post(path, "query", {**body, "since": "...", "until": "..."})
            assert response.status_code == 400
            assert response.json()["error"]["code"] == "invalid_timestamp"
            assert response.json()["error"]["field"] == "since"


def test_a_question_beyond_its_limits_gets_advice(clickhouse: ClickHouseSettings) -> None:
    with QueryClient.started(clickhouse, projects=1, query_max_rows=100) as client:
        project, key = next(client.projects)
        send_sql(
            clickhouse,
            f"INSERT INTO {EVENTS} (project_id, event_id, event, distinct_id, timestamp, properties) "
            f"SELECT '{project}', generateUUIDv4(), 'a', toString(number), '2024-01-05', '{{}}' FROM numbers(1000)",
        )
        for kind in INSIGHTS:
            path = f"/query/{kind}"
            response = client.post(path, key, BODIES[path])
            assert response.status_code == 400
            assert response.json()["error"]["code"] == "query_too_expensive"
            assert "window" in response.json()["error"]["message"]


def test_too_many_questions_at_once(clickhouse: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is answered takes until the others have their answers or wait for their turn."""
    options: dict[str, Any] = {"query_concurrency_per_project": 1, "query_queue_per_project": 2}
    refused_all, raw = asyncio.Event(), QueryExecutor.raw

    async def slow(store: QueryExecutor, sql: str, parameters: Parameters, fmt: str) -> bytes:
        await refused_all.wait()
        return await raw(store, sql, parameters, fmt)

    monkeypatch.setattr(QueryExecutor, "raw", slow)
    with QueryClient.started(clickhouse, projects=2, **options) as client:
        key, other = (key for _, key in client.projects)

        async def ask(key: str) -> Any:
            headers = {"authorization": f"Bearer {key}"}
            return await client.http.post(address("/query/path"), headers=headers, json=BODIES["/query/path"])

        async def ask_many() -> list[Any]:
            asked = [asyncio.create_task(ask(key)) for _ in range(10)]
            of_other = asyncio.create_task(ask(other))
            async with asyncio.timeout(30):
                while sum(one.done() for one in asked) < 7:  # noqa: ASYNC110 (nobody tells us)
                    await asyncio.sleep(0.01)
            refused_all.set()
            return list(await asyncio.gather(*asked, of_other))

        *responses, of_other = client.run(ask_many())
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [200] * 3 + [429] * 7
    assert of_other.status_code == 200
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.json()["error"]["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) >= 1


def test_without_the_store(clickhouse: ClickHouseSettings) -> None:
    """Not ready, and each call says so; nothing is a fault of the server."""
    nowhere: dict[str, Any] = {"clickhouse_url": "http://127.0.0.1:9"}
    with QueryClient.started(clickhouse, projects=1, wait=False, **nowhere) as client:
        assert client.send("GET", "/health/live").status_code == 200
        ready = client.send("GET", "/health/ready")
        assert (ready.status_code, ready.json()["checks"]) == (503, {"clickhouse": False, "keys": False})
        response = client.post("/query/events", "query", WINDOW)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(response.headers["retry-after"]) >= 1


def test_what_it_says_of_itself(client: QueryClient) -> None:
    client.ask("/query/path", "query", BODIES["/query/path"])
    metrics = client.send("GET", "/metrics").text
    assert 'headrace_query_duration_seconds_count{query="path"}' in metrics
    assert "headrace_query_running 0.0" in metrics
    assert "headrace_query_queued 0.0" in metrics
    assert client.send("GET", "/health/ready").json()["ready"]
    document = json.loads(client.send("GET", "/openapi.json").text)
    assert {BASE_PATH + call.path for call in QUERY_CALLS} <= set(document["paths"])
