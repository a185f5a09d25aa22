"""Running a dashboard: each query's answer is that of its own call, in order, and an error is the answer of one."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import EVENTS
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import send_sql
from tests.support.query_client import QueryClient

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
UNKNOWN = "0b0f5a52-7a4f-4a3e-9a51-6b1f0a7c2f11"
QUERIES: list[dict[str, Any]] = [
    {"type": "trends", "title": "Views é ✓", **WINDOW, "series": [{"event": "view"}], "interval": "week"},
    {"type": "events", **WINDOW, "filter": {"event": "pay"}, "limit": 5},
    {"type": "funnel", **WINDOW, "steps": [{"event": "view"}, {"event": "pay"}], "colour": "red"},
    {"type": "retention", **WINDOW, "born_event": "view", "return_event": "pay", "timezone": "Asia/Tokyo"},
    {"type": "path", **WINDOW, "start_event": "view", "max_depth": 2},
    {"type": "cohort", "cohort": {"did": "pay", **WINDOW}},
]


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=20) as client:
        yield client


@pytest.fixture
def key(client: QueryClient, clickhouse: ClickHouseSettings) -> str:
    """Of a project with an hour of events on each day of January and February."""
    project, key = next(client.projects)
    send_sql(
        clickhouse,
        f"INSERT INTO {EVENTS} (project_id, event_id, event, distinct_id, timestamp, properties) "
        f"SELECT '{project}', generateUUIDv4(), ['view', 'pay', 'view'][1 + number % 3], toString(number % 17), "
        "toDateTime64('2024-01-01', 6, 'UTC') + number * 3600, '{}' FROM numbers(1440)",
    )
    return key


def create(client: QueryClient, key: str, queries: list[dict[str, Any]]) -> str:
    return str(client.ask("/dashboard/create", key, {"name": "All", "queries": queries})["dashboard_id"])


def asked_alone(client: QueryClient, key: str, query: dict[str, Any], **override: Any) -> Any:
    body = {name: value for name, value in {**query, **override}.items() if name not in ("type", "title")}
    return client.ask(f"/query/{query['type']}", key, body)


def test_answers_are_those_of_the_calls_in_order(client: QueryClient, key: str) -> None:
    dashboard_id = create(client, key, QUERIES)
    run = client.ask(f"/dashboard/run/{dashboard_id}", key, {})
    assert (run["dashboard_id"], run["name"]) == (dashboard_id, "All")
    assert [answer["type"] for answer in run["answers"]] == [query["type"] for query in QUERIES]
    assert [answer.get("title") for answer in run["answers"]] == ["Views é ✓", *[None] * 5]
    for query, answer in zip(QUERIES, run["answers"], strict=True):
        assert answer["answer"] == asked_alone(client, key, query)
    assert run["answers"][0]["answer"]["series"][0]["lines"][0]["values"][0] > 0
    assert run["answers"][2]["answer"]["warnings"] == ["unknown field `colour` ignored"]
    without_body = client.send("POST", f"{BASE_PATH}/dashboard/run/{dashboard_id}", key)
    assert without_body.json() == run


@pytest.mark.parametrize(
    "override",
    [
        {"since": "2024-01-10"},
        {"until": 1706140800},
        {"since": "2024-02-01", "until": "2024-03-01", "timezone": "Asia/Tokyo"},
        {"since": None, "until": None, "timezone": None},
    ],
)
def test_override(client: QueryClient, key: str, override: dict[str, Any]) -> None:
    run = client.ask(f"/dashboard/run/{create(client, key, QUERIES)}", key, {**override, "colour": 1})
    assert run["warnings"] == ["unknown field `colour` ignored"]
    given = {name: value for name, value in override.items() if value is not None}
    for query, answer in zip(QUERIES, run["answers"], strict=True):
        windowed = {} if query["type"] == "cohort" else given
        assert answer["answer"] == asked_alone(client, key, query, **windowed)


@pytest.mark.parametrize(
    ("override", "code", "field"),
    [
        ({"since": "x"}, "invalid_timestamp", "since"),
        ({"until": True}, "invalid_field", "until"),
        ({"since": "2024-02-01", "until": "2024-02-01"}, "invalid_window", "until"),
        ({"timezone": "Berlin"}, "invalid_timezone", "timezone"),
    ],
)
def test_an_override_that_no_query_could_take(
    client: QueryClient, key: str, override: dict[str, Any], code: str, field: str
) -> None:
    response = client.post(f"/dashboard/run/{create(client, key, QUERIES)}", key, override)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (400, code, field)


def test_one_error_does_not_spoil_the_others(client: QueryClient, key: str) -> None:
    # With the new end, one window is empty; with the new start, another has too many periods.
    queries = [
        QUERIES[0],
        {**QUERIES[1], "since": "2024-01-20"},
        {**QUERIES[3], "since": "2024-01-01", "interval": "hour"},
        QUERIES[4],
    ]
    dashboard_id = create(client, key, queries)
    run = client.ask(f"/dashboard/run/{dashboard_id}", key, {"until": "2024-01-15"})
    assert ["error" in answer for answer in run["answers"]] == [False, True, False, False]
    assert run["answers"][1]["error"]["code"] == "invalid_window"
    run = client.ask(f"/dashboard/run/{dashboard_id}", key, {"since": "2023-01-01"})
    assert [answer.get("error", {}).get("code") for answer in run["answers"]] == [
        *(None, None),
        *("query_too_expensive", None),
    ]


def test_a_query_beyond_the_stores_limits(clickhouse: ClickHouseSettings) -> None:
    with QueryClient.started(clickhouse, projects=1, query_max_rows=100) as client:
        project, key = next(client.projects)
        send_sql(
            clickhouse,
            f"INSERT INTO {EVENTS} (project_id, event_id, event, distinct_id, timestamp, properties) "
            f"SELECT '{project}', generateUUIDv4(), 'view', toString(number), '2024-01-05', '{{}}' FROM numbers(1000)",
        )
        early = {"since": "2023-01-06", "until": "2023-01-07"}
        run = client.ask(f"/dashboard/run/{create(client, key, [QUERIES[4], {**QUERIES[4], **early}])}", key, {})
    assert run["answers"][0]["error"]["code"] == "query_too_expensive"
    assert run["answers"][1]["answer"]["count"] == 0


def test_takes_one_place_in_the_queue(clickhouse: ClickHouseSettings) -> None:
    options: dict[str, Any] = {"query_concurrency_per_project": 1, "query_queue_per_project": 2}
    with QueryClient.started(clickhouse, projects=3, **options) as client:
        _, key = next(client.projects)
        path = f"{BASE_PATH}/dashboard/run/{create(client, key, QUERIES * 3)}"

        async def run() -> Any:
            return await client.http.post(path, headers={"authorization": f"Bearer {key}"})

        async def run_all() -> list[Any]:
            return list(await asyncio.gather(run(), run(), run()))

        for response in client.run(run_all()):
            assert all("answer" in answer for answer in response.json()["answers"])


@pytest.mark.parametrize("dashboard_id", ["DASHBOARD_ID", "%00", UNKNOWN])
def test_of_no_such_dashboard(client: QueryClient, key: str, dashboard_id: str) -> None:
    response = client.post(f"/dashboard/run/{dashboard_id}", key, {})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_is_the_projects_own(client: QueryClient, key: str) -> None:
    dashboard_id = create(client, key, QUERIES)
    _, other = next(client.projects)
    assert client.post(f"/dashboard/run/{dashboard_id}", other, {}).status_code == 404
    client.send("DELETE", f"{BASE_PATH}/dashboard/delete/{dashboard_id}", key)
    assert client.post(f"/dashboard/run/{dashboard_id}", key, {}).status_code == 404
