"""Dashboards: created once a key, theirs alone, listed in order, deleted for good."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from services.contract.api.dashboards import MAX_DASHBOARD_QUERIES, MAX_PAGE_BYTES
from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import DASHBOARDS
from services.query.dashboards.repository import Dashboards
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import send_sql
from tests.support.query_client import QueryClient

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
UNKNOWN = "0b0f5a52-7a4f-4a3e-9a51-6b1f0a7c2f11"
QUERIES: list[dict[str, Any]] = [
    {"type": "events", "title": "Orders é ✓ \" \\ '", **WINDOW, "filter": {"event": "order", "amount": {"gte": 1.0}}},
    {"type": "retention", **WINDOW, "born_event": "a", "return_event": "b", "interval": "week", "colour": "red"},
    {"type": "path", **WINDOW, "start_event": "a\t\n", "max_depth": 3, "width": 12},
]


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse) as client:
        yield client


@pytest.fixture
def key(client: QueryClient) -> str:
    return next(client.projects)[1]


def get(client: QueryClient, key: str, dashboard_id: str) -> Any:
    return client.send("GET", f"{BASE_PATH}/dashboard/get/{dashboard_id}", key)


def page(client: QueryClient, key: str, **parameters: Any) -> Any:
    response = client.send("GET", f"{BASE_PATH}/dashboard/list", key, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def delete(client: QueryClient, key: str, dashboard_id: str, **options: Any) -> Any:
    return client.send("DELETE", f"{BASE_PATH}/dashboard/delete/{dashboard_id}", key, **options)


def test_comes_back_as_it_was_sent(client: QueryClient, key: str) -> None:
    created = client.ask("/dashboard/create", key, {"name": "Ünï \\ ' \" ✓", "queries": QUERIES})
    assert created.pop("warnings") == ["queries[1]: unknown field `colour` ignored"]
    assert (created["name"], created["queries"]) == ("Ünï \\ ' \" ✓", QUERIES)
    assert created["created_at"] == created["updated_at"]
    assert created["created_at"].endswith("Z")
    assert get(client, key, created["dashboard_id"]).json() == created
    assert page(client, key) == page(client, key, cursor="", limit="") == {"items": [created]}


def test_a_large_one(client: QueryClient, key: str) -> None:
    large = {"type": "events", **WINDOW, "filter": {"a": ["x" * 100] * 150}}
    queries = [large] * MAX_DASHBOARD_QUERIES
    assert len(json.dumps(queries)) > 700_000
    created = client.ask("/dashboard/create", key, {"name": "large", "queries": queries})
    assert created["queries"] == queries


def test_is_the_projects_own(client: QueryClient, key: str) -> None:
    other = next(client.projects)[1]
    body = {"name": "mine", "queries": [], "idempotency_key": "k"}
    created = client.ask("/dashboard/create", key, body)
    dashboard_id = created["dashboard_id"]
    assert get(client, other, dashboard_id).status_code == 404
    assert delete(client, other, dashboard_id).json() == {"ok": True}
    assert page(client, other) == {"items": []}
    assert client.ask("/dashboard/create", other, body)["dashboard_id"] != dashboard_id
    assert get(client, key, dashboard_id).json() == created


def test_a_key_makes_one_and_the_first_wins(client: QueryClient, key: str) -> None:
    first = client.ask("/dashboard/create", key, {"name": "first", "queries": [], "idempotency_key": "k"})
    second = client.ask("/dashboard/create", key, {"name": "second", "queries": QUERIES, "idempotency_key": "k"})
    assert second["warnings"]
    assert {**second, "warnings": None} == {**first, "warnings": None}
    by_header = client.send(
        "POST",
        f"{BASE_PATH}/dashboard/create",
        key,
        json={"name": "third", "queries": []},
        headers={"idempotency-key": "k"},
    )
    assert by_header.json() == first
    without = [client.ask("/dashboard/create", key, {"name": "x", "queries": []})["dashboard_id"] for _ in range(2)]
    assert len({first["dashboard_id"], *without}) == 3


@pytest.mark.parametrize("placeholder", ["undefined", "null", "[object Object]"])
def test_a_key_that_only_broken_clients_send_is_none(client: QueryClient, key: str, placeholder: str) -> None:
    plain, headers = {"name": "one", "queries": []}, {"idempotency-key": placeholder}
    path = f"{BASE_PATH}/dashboard/create"
    made = [client.ask("/dashboard/create", key, {**plain, "idempotency_key": placeholder}) for _ in range(2)]
    made += [client.send("POST", path, key, json=plain, headers=headers).json() for _ in range(2)]
    assert len({one["dashboard_id"] for one in made}) == 4
    assert all("is a placeholder and counts as absent" in one["warnings"][0] for one in made)


def test_the_first_wins_among_many_at_once(client: QueryClient, key: str) -> None:
    async def create(number: int) -> Any:
        return await client.http.post(
            f"{BASE_PATH}/dashboard/create",
            headers={"authorization": f"Bearer {key}"},
            json={"name": f"number {number}", "queries": [], "idempotency_key": "race"},
        )

    async def race() -> list[Any]:
        return list(await asyncio.gather(*(create(number) for number in range(20))))

    answers = [response.json() for response in client.run(race())]
    assert all(answer == answers[0] for answer in answers)
    assert page(client, key)["items"] == [answers[0]]


def test_is_made_where_the_store_knows_the_token_but_lost_the_row(
    client: QueryClient, clickhouse: ClickHouseSettings, key: str
) -> None:
    """As a server that is killed may leave it."""
    body = {"name": "x", "queries": QUERIES[2:], "idempotency_key": "lost"}
    dashboard_id = client.ask("/dashboard/create", key, body)["dashboard_id"]
    send_sql(
        clickhouse, f"ALTER TABLE {DASHBOARDS} DELETE WHERE dashboard_id = '{dashboard_id}' SETTINGS mutations_sync = 2"
    )
    assert get(client, key, dashboard_id).status_code == 404
    made = client.ask("/dashboard/create", key, body)
    assert made["dashboard_id"] == dashboard_id
    assert get(client, key, dashboard_id).json() == made
    assert client.ask("/dashboard/create", key, {**body, "name": "later"}) == made


def test_deleted_is_gone_and_its_key_stays_used(client: QueryClient, key: str) -> None:
    body = {"name": "x", "queries": QUERIES[2:], "idempotency_key": "k"}
    created = client.ask("/dashboard/create", key, body)
    for _ in range(2):
        assert delete(client, key, created["dashboard_id"]).json() == {"ok": True}
        assert get(client, key, created["dashboard_id"]).status_code == 404
        assert page(client, key) == {"items": []}
    # A retry that comes late does not bring it back.
    again = client.ask("/dashboard/create", key, body)
    assert (again["dashboard_id"], again["queries"]) == (created["dashboard_id"], created["queries"])
    assert get(client, key, created["dashboard_id"]).status_code == 404


@pytest.mark.parametrize("dashboard_id", ["DASHBOARD_ID", "%00", "x" * 2000, UNKNOWN, UNKNOWN.replace("-", "")])
def test_deleting_what_was_never_there(client: QueryClient, key: str, dashboard_id: str) -> None:
    assert delete(client, key, dashboard_id).json() == {"ok": True}
    assert get(client, key, dashboard_id).status_code == 404


def test_delete_takes_a_body(client: QueryClient, key: str) -> None:
    body = json.dumps({"idempotency_key": "x", "why": "old"}).encode()
    answer = delete(client, key, "DASHBOARD_ID", content=body).json()
    assert answer == {"ok": True, "warnings": ["unknown field `why` ignored"]}
    assert delete(client, key, "DASHBOARD_ID", content=b"{").status_code == 400


def test_pages_in_order_of_creation_while_others_come_and_go(client: QueryClient, key: str) -> None:
    def create(name: str) -> str:
        return str(client.ask("/dashboard/create", key, {"name": name, "queries": []})["dashboard_id"])

    created = [create(f"d{i}") for i in range(7)]
    first = page(client, key, limit=3)
    assert [item["dashboard_id"] for item in first["items"]] == created[:3]
    delete(client, key, created[2])
    assert get(client, key, created[2]).status_code == 404
    late = create("late")
    second = page(client, key, limit=3, cursor=first["next_cursor"])
    assert [item["dashboard_id"] for item in second["items"]] == created[3:6]
    third = page(client, key, limit=3, cursor=second["next_cursor"])
    assert [item["dashboard_id"] for item in third["items"]] == [created[6], late]
    assert "next_cursor" not in third


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"limit": "1.0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"limit": "١"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "x" * 3000}, "cursor"),
        ({"cursor": "\0"}, "cursor"),
    ],
)
def test_parameters_of_a_list_that_are_refused(
    client: QueryClient, key: str, parameters: dict[str, str], field: str
) -> None:
    response = client.send("GET", f"{BASE_PATH}/dashboard/list", key, params=parameters)
    assert response.status_code == 400
    assert response.json()["error"]["field"] == field


def test_a_cursor_of_another_project(client: QueryClient, key: str) -> None:
    for name in ("a", "b"):
        client.ask("/dashboard/create", key, {"name": name, "queries": []})
    cursor = page(client, key, limit=1)["next_cursor"]
    other = next(client.projects)[1]
    response = client.send("GET", f"{BASE_PATH}/dashboard/list", other, params={"cursor": cursor})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_cursor")


def large_queries(size: int) -> list[dict[str, Any]]:
    query = {"type": "events", **WINDOW, "filter": {"a": ["x" * 180] * 100}}
    return [query] * (size // len(json.dumps(query)))


@pytest.mark.parametrize("limit", [None, 5, 11])
def test_pages_end_early_where_they_would_be_too_large(client: QueryClient, key: str, limit: int | None) -> None:
    names = [f"d{i}" for i in range(14)]
    for name in names:
        client.ask("/dashboard/create", key, {"name": name, "queries": large_queries(900_000)})
    seen: list[str] = []
    cursor = ""
    while True:
        parameters = {"cursor": cursor} | ({} if limit is None else {"limit": limit})
        response = client.send("GET", f"{BASE_PATH}/dashboard/list", key, params=parameters)
        assert len(response.content) <= MAX_PAGE_BYTES
        answer = response.json()
        assert 1 <= len(answer["items"]) <= (limit or 100)
        seen += [item["name"] for item in answer["items"]]
        if "next_cursor" not in answer:
            break
        cursor = answer["next_cursor"]
    assert seen == names


@pytest.mark.parametrize(("method", "path"), [("POST", "create"), ("GET", "list"), ("GET", "get/x"), ("POST", "run/x")])
@pytest.mark.parametrize("end", ["/", "//"])
def test_a_slash_too_many_leads_nowhere(client: QueryClient, key: str, method: str, path: str, end: str) -> None:
    response = client.send(
        method, f"{BASE_PATH}/dashboard/{path}{end}", key, headers={"host": "evil.example"}, follow_redirects=False
    )
    assert response.status_code == 404
    assert "location" not in response.headers
    assert response.json()["error"]["code"] == "not_found"


def test_calls_take_their_project_s_turn(clickhouse: ClickHouseSettings) -> None:
    with QueryClient.started(clickhouse, projects=3, query_concurrency_per_project=1, query_queue_per_project=0) as one:
        (_, key), (_, other), _ = list(one.projects)

        async def ask(key: str, method: str, path: str, **options: Any) -> int:
            headers = {"authorization": f"Bearer {key}"}
            response = await one.http.request(method, f"{BASE_PATH}{path}", headers=headers, **options)
            return response.status_code

        async def at_once() -> list[int]:
            calls = [
                ask(key, "GET", "/dashboard/list"),
                ask(key, "GET", f"/dashboard/get/{UNKNOWN}"),
                ask(key, "POST", "/dashboard/create", json={"name": "n", "queries": []}),
                ask(key, "DELETE", f"/dashboard/delete/{UNKNOWN}"),
                ask(key, "POST", f"/dashboard/run/{UNKNOWN}"),
                ask(other, "GET", "/dashboard/list"),
            ]
            return list(await asyncio.gather(*calls))

        statuses = one.run(at_once())
        assert statuses[5] == 200
        assert 429 in statuses[:5]
        assert set(statuses[:5]) <= {200, 404, 429}


def put(client: QueryClient, key: str, dashboard_id: str, **body: Any) -> Any:
    return client.send("PUT", f"{BASE_PATH}/dashboard/update/{dashboard_id}", key, json=body)


def test_is_changed_by_whoever_has_read_it_last(client: QueryClient, key: str) -> None:
    created = client.ask("/dashboard/create", key, {"name": "x", "queries": QUERIES, "idempotency_key": "k"})
    dashboard_id, version = created["dashboard_id"], created["version"]
    changed = put(client, key, dashboard_id, name="y", queries=QUERIES[1:], version=version)
    assert changed.status_code == 200
    assert changed.json().pop("warnings") == ["queries[0]: unknown field `colour` ignored"]
    now = {name: value for name, value in changed.json().items() if name != "warnings"}
    assert get(client, key, dashboard_id).json() == now
    assert (now["name"], now["queries"], now["version"]) == ("y", QUERIES[1:], version + 1)
    assert now["created_at"] == created["created_at"] < now["updated_at"]
    again = put(client, key, dashboard_id, name="z", queries=[], version=version)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert str(version + 1) in again.json()["error"]["message"]
    assert get(client, key, dashboard_id).json() == now
    # Its key still makes the same one.
    assert client.ask("/dashboard/create", key, {"name": "x", "queries": [], "idempotency_key": "k"}) == now
    assert put(client, key, dashboard_id, name="z", queries=[], version=version + 1).json()["version"] == version + 2
    assert delete(client, key, dashboard_id).json() == {"ok": True}
    for gone in (dashboard_id, UNKNOWN, "x"):
        assert put(client, key, gone, name="z", queries=[], version=1).status_code == 404
    other = next(client.projects)[1]
    mine = client.ask("/dashboard/create", key, {"name": "x", "queries": []})
    assert put(client, other, mine["dashboard_id"], name="z", queries=[], version=1).status_code == 404


def test_of_many_changes_at_once_one_is_made(client: QueryClient, key: str) -> None:
    created = client.ask("/dashboard/create", key, {"name": "x", "queries": []})
    path = f"{BASE_PATH}/dashboard/update/{created['dashboard_id']}"

    async def change(number: int) -> Any:
        body = {"name": f"number {number}", "queries": [], "version": created["version"]}
        return await client.http.put(path, headers={"authorization": f"Bearer {key}"}, json=body)

    async def race() -> list[Any]:
        return list(await asyncio.gather(*(change(number) for number in range(12))))

    responses = client.run(race())
    assert sorted(response.status_code for response in responses) == [200] + [409] * 11
    (made,) = [response.json() for response in responses if response.status_code == 200]
    assert get(client, key, created["dashboard_id"]).json() == made


def test_a_change_at_the_same_time_brings_no_deleted_one_back(client: QueryClient, key: str) -> None:
    created = client.ask("/dashboard/create", key, {"name": "x", "queries": []})
    dashboard_id = created["dashboard_id"]
    insert = Dashboards._insert

    async def late(self: Dashboards, row: Any, token: str) -> None:
        path = f"{BASE_PATH}/dashboard/delete/{dashboard_id}"
        deleted = await client.http.delete(path, headers={"authorization": f"Bearer {key}"})
        assert deleted.status_code == 200
        await insert(self, row, token)

    with patch.object(Dashboards, "_insert", late):
        changed = put(client, key, dashboard_id, name="y", queries=[], version=created["version"])
    assert changed.status_code == 404
    assert get(client, key, dashboard_id).status_code == 404


def test_a_change_that_is_overtaken_was_made(client: QueryClient, key: str) -> None:
    created = client.ask("/dashboard/create", key, {"name": "x", "queries": []})
    path = f"{BASE_PATH}/dashboard/update/{created['dashboard_id']}"
    insert, next_one = Dashboards._insert, [{"name": "z", "queries": QUERIES[:1], "version": 2}]

    async def overtaken(self: Dashboards, row: Any, token: str) -> None:
        await insert(self, row, token)
        if next_one:
            body = next_one.pop()
            changed = await client.http.put(path, headers={"authorization": f"Bearer {key}"}, json=body)
            assert changed.json()["version"] == 3

    with patch.object(Dashboards, "_insert", overtaken):
        changed = put(client, key, created["dashboard_id"], name="y", queries=QUERIES[2:], version=1)
    assert changed.status_code == 200
    made, now = changed.json(), get(client, key, created["dashboard_id"]).json()
    assert made == {**now, "name": "y", "queries": QUERIES[2:], "version": 2, "updated_at": made["updated_at"]}
    assert (now["name"], now["version"]) == ("z", 3)
    assert made["updated_at"] < now["updated_at"]
    # Another one of the same version was not made.
    assert put(client, key, created["dashboard_id"], name="w", queries=[], version=1).status_code == 409


def test_a_change_is_checked_as_a_new_one_is(client: QueryClient, key: str) -> None:
    created = client.ask("/dashboard/create", key, {"name": "x", "queries": []})
    for body, field in (
        ({"name": "y", "queries": [{"type": "path", **WINDOW}], "version": 1}, "queries[0].start_event"),
        ({"name": "", "queries": [], "version": 1}, "name"),
        ({"name": "y", "queries": []}, "version"),
        ({"name": "y", "queries": [{}] * 51, "version": 1}, "queries"),
    ):
        response = put(client, key, created["dashboard_id"], **body)
        assert (response.status_code, response.json()["error"]["field"]) == (400, field)
