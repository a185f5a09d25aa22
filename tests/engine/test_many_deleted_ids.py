"""A project with many deleted ids is asked with a join in each statement, and every call answers as with few."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import DELETED_IDS
from services.query.execution.project_facts import MANY_DELETED_IDS
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import send_sql
from tests.support.oracle import Event
from tests.support.oracle_people import Call, PeopleHistory
from tests.support.people import store_people
from tests.support.query_client import QueryClient

NOW = datetime.now(UTC)
IDS = ["anna", "ben", "ben phone", "gone"]
WINDOW = {"last": "7d"}
LISTED = {"cohort": {"saved": "list"}}
BY_GROUP = {"breakdown": "group.company", "filter": {"group.company.plan": "pro"}}
QUERIES: list[tuple[str, dict[str, Any]]] = [
    ("cohort", LISTED),
    ("cohort", {"cohort": {"not": {"saved": "list"}}}),
    ("events", WINDOW),
    ("events", {**WINDOW, **LISTED, "filter": {"person.plan": "pro"}}),
    ("retention", {**WINDOW, **LISTED, "born_event": "view", "return_event": "view", "breakdown": "n"}),
    ("path", {**WINDOW, **LISTED, "start_event": "view"}),
    ("funnel", {**WINDOW, **LISTED, **BY_GROUP, "steps": [{"event": "view"}, {"event": "view"}]}),
    ("trends", {**WINDOW, **LISTED, **BY_GROUP, "series": [{"event": None, "measure": "people"}]}),
    ("trends", {**WINDOW, **LISTED, "aggregate_by": "company", "series": [{"event": None, "measure": "people"}]}),
]


def history() -> PeopleHistory:
    at = NOW - timedelta(days=2)
    events = [
        Event(str(uuid.uuid5(uuid.UUID(int=i), who)), "view", who, at + timedelta(minutes=i), json.dumps({"n": i % 2}))
        for i, who in enumerate(IDS * 3)
    ]
    calls = [
        Call(str(uuid.UUID(int=i)), "identify", who, at, json.dumps({"plan": "pro", "name": f"Name of {who}"}))
        for i, who in enumerate(IDS)
    ]
    calls += [
        Call(str(uuid.UUID(int=10 + i)), "group", who, at, '{"plan":"pro"}', "company", "acme")
        for i, who in enumerate(IDS)
    ]
    return PeopleHistory(events, {"ben phone": "ben", "ben": "ben"}, calls)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=2, keys_refresh_s=0.05, query_catalog_every_s=0.05) as client:
        for project, others in (("project_0", 0), ("project_1", MANY_DELETED_IDS + 1)):
            store_people(clickhouse, {project: history()})
            send_sql(
                clickhouse,
                f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) SELECT '{project}', "
                f"arrayJoin(arrayConcat(['gone'], arrayMap(x -> 'id ' || toString(x), range({others})))), "
                "generateUUIDv4(), now64(6)",
            )
        for key in ("hr_key_0", "hr_key_1"):
            saved = client.send("PUT", f"{BASE_PATH}/cohorts/list", key, json={"ids": [*IDS, "nobody"]})
            assert saved.status_code == 200
            client.run(_built(client, key))
        yield client


async def _built(client: QueryClient, key: str) -> None:
    """The catalog has the project's events."""
    headers = {"authorization": f"Bearer {key}"}
    async with asyncio.timeout(60):
        while not (await client.http.post(f"{BASE_PATH}/query/catalog", json={}, headers=headers)).json()["events"]:  # noqa: ASYNC110 (nobody tells us)
            await asyncio.sleep(0.05)


def same(client: QueryClient, method: str, path: str, **options: Any) -> Any:
    """The answer that both projects have."""
    few, many = (client.send(method, BASE_PATH + path, key, **options) for key in ("hr_key_0", "hr_key_1"))
    assert (few.status_code, many.status_code) == (200, 200), many.text
    answer = {**few.json(), "built_at": None}
    assert answer == {**many.json(), "built_at": None}
    return answer


@pytest.mark.parametrize(("kind", "body"), QUERIES)
def test_queries_and_the_people_behind_them(client: QueryClient, kind: str, body: dict[str, Any]) -> None:
    answer = same(client, "POST", f"/query/{kind}", json=body)
    assert "anna" in json.dumps(answer) or kind not in ("events", "cohort") or "not" in body["cohort"]
    assert "gone" not in json.dumps(answer)
    if kind != "events":
        found = same(client, "POST", "/query/people", json={"query": {"type": kind, **body}})
        assert "gone" not in json.dumps(found)


def test_the_catalog_and_people_and_groups(client: QueryClient) -> None:
    catalog = same(client, "POST", "/query/catalog", json={"event": "view"})
    assert catalog["properties"]["sample"] == 9
    for search, people in (("name of", ["anna", "ben"]), ("phone", ["ben"]), ("gone", [])):
        found = same(client, "GET", f"/persons?search={search}")
        assert sorted(one["person_id"] for one in found["people"]) == people
    same(client, "GET", "/persons/ben%20phone")
    same(client, "GET", "/groups/company/acme")
