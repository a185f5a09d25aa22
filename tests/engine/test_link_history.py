"""`headrace identity link-history`: calls with a `user_id` that 0.1.0 received become links, once."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import IDENTITY_LOG
from services.operations.link_history import History, link_history, look_at_history, projects_with_history
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.worker.identity.writer import IdentityStore
from tests.support.engine import insert_lines, send_sql
from tests.support.query_client import QueryClient
from tests.support.sayings import MOMENT, identity_line, link


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=10) as client:
        yield client


def old_call(project: str, distinct_id: str, user_id: str, seconds: int, **fields: Any) -> dict[str, Any]:
    """As 0.1.0 stored it."""
    time = (MOMENT + timedelta(seconds=seconds)).isoformat()
    return {
        "project_id": project,
        "event_id": str(uuid.uuid4()),
        "kind": "identify",
        "distinct_id": distinct_id,
        "user_id": user_id,
        "timestamp": time,
        "received_at": time,
        "traits": json.dumps({"name": user_id}),
        **fields,
    }


def store_old(clickhouse: ClickHouseSettings, *calls: dict[str, Any]) -> None:
    insert_lines(clickhouse, IDENTITY_LOG, "\n".join(map(json.dumps, calls)).encode())


def apply(clickhouse: ClickHouseSettings, project: str) -> tuple[History, list[int]]:
    async def run() -> tuple[History, list[int]]:
        store = ClickHouse(clickhouse)
        try:
            history = await look_at_history(store, project)
            return history, [done async for done in link_history(store, project)]
        finally:
            await store.close()

    return asyncio.run(run())


def person(client: QueryClient, key: str, distinct_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.send("GET", f"{BASE_PATH}/persons/{distinct_id}", key).json()
    return answer


def test_old_calls_become_links_with_their_traits(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    store_old(
        clickhouse,
        old_call(project, "phone", "ann", 0),
        old_call(project, "laptop", "ann", 1),
        old_call(project, "phone", "bob", 2),
        old_call(project, "tablet", "null", 3),
        old_call(project, "ann", "ann", 4, traits='{"plan": "pro"}'),
    )
    assert person(client, key, "phone")["traits"] == {"name": "bob"}
    history, done = apply(clickhouse, project)
    assert (history.calls, history.placeholders, history.counting) == (4, 1, 2)
    assert done == [3]
    ann = person(client, key, "phone")
    assert (ann["person_id"], sorted(ann["distinct_ids"])) == ("ann", ["ann", "laptop", "phone"])
    assert ann["traits"] == {"name": "ann", "plan": "pro"}
    assert [one["counts"] for one in ann["links"]] == [True, True, False]
    assert datetime.fromisoformat(ann["links"][0]["timestamp"]) == MOMENT
    assert person(client, key, "bob")["traits"] == {"name": "bob"}
    assert person(client, key, "tablet")["person_id"] == "tablet"


def test_it_may_be_repeated_and_the_calls_keys_stay_taken(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    call = old_call(project, "phone", "ann", 0)
    store_old(clickhouse, call, call)
    assert apply(clickhouse, project)[1] == [1]
    history, done = apply(clickhouse, project)
    assert (history.calls, done) == (0, [])
    again = identity_line(project, link("phone", "ann"))
    again.event_id = call["event_id"]
    client.run(stored(clickhouse, again))
    assert (
        send_sql(clickhouse, f"SELECT uniqExact(event_id) FROM {IDENTITY_LOG} WHERE project_id = '{project}'") == "2\n"
    )
    assert person(client, key, "phone")["person_id"] == "ann"


async def stored(clickhouse: ClickHouseSettings, *lines: Any) -> None:
    store = ClickHouse(clickhouse)
    try:
        await IdentityStore(store).keep_lines(lines)
    finally:
        await store.close()


def test_an_older_call_takes_the_place_of_a_link_of_today(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    client.run(stored(clickhouse, identity_line(project, link("phone", "bob", 60))))
    store_old(clickhouse, old_call(project, "phone", "ann", 0, old_id="anonymous"))
    client.run(stored(clickhouse, identity_line(project, link("other", "bob", 61))))
    assert sorted(person(client, key, "bob")["distinct_ids"]) == ["bob", "other", "phone"]
    apply(clickhouse, project)
    assert sorted(person(client, key, "bob")["distinct_ids"]) == ["bob", "other"]
    ann = person(client, key, "ann")
    assert sorted(ann["distinct_ids"]) == ["ann", "anonymous", "phone"]
    # What the call merged stays merged, by its own row.
    assert [(one["old_id"], one["new_id"]) for one in ann["merges"]] == [("anonymous", "phone")]


def test_projects_that_have_such_calls_are_found(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, _ = next(client.projects)
    store_old(clickhouse, old_call(project, "phone", "ann", 0))

    async def found() -> list[str]:
        store = ClickHouse(clickhouse)
        try:
            return await projects_with_history(store)
        finally:
            await store.close()

    assert project in client.run(found())
    apply(clickhouse, project)
    assert project not in client.run(found())
