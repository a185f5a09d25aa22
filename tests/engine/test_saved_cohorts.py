"""Saved cohorts: in every query as if their rule stood there, lists as the people of their ids, replaced as a whole."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import COHORT_IDS, COHORTS, DELETED_IDS
from services.query.cohorts import repository
from services.query.cohorts.repository import SavedCohorts
from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.project_facts import ProjectFacts
from services.query.execution.turns import StoreTurns
from services.query.insights.registry import INSIGHTS
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings, QuerySettings
from services.schema.roles import Role
from tests.support.engine import as_role, insert_lines, send_sql
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.query_client import QueryClient, insert_keys

NOW = datetime.now(UTC)
WINDOW = {"last": "7d"}
RULE = {"did": "pay", "last": "2d", "filter": {"n": {"gte": 1}}}
PERSON_OF = {"u1": "one", "device": "one", "u2": "two"}
QUERIES: dict[str, dict[str, Any]] = {
    "events": WINDOW,
    "retention": {**WINDOW, "born_event": None, "return_event": "pay"},
    "path": {**WINDOW, "start_event": "view"},
    "funnel": {**WINDOW, "steps": [{"event": "view"}, {"event": "pay"}]},
    "trends": {**WINDOW, "series": [{"event": None}]},
    "cohort": {},
}


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=40) as client:
        yield client


@pytest.fixture
def project(client: QueryClient, clickhouse: ClickHouseSettings) -> tuple[str, str]:
    project, key = next(client.projects)
    events = [
        Event(str(uuid.uuid4()), name, who, NOW - timedelta(hours=hours), json.dumps({"n": hours % 3}))
        for hours in range(1, 120, 5)
        for name, who in (("view", f"u{hours % 4}"), ("pay", "device" if hours % 2 else "u5"))
    ]
    store(clickhouse, {project: History(events, PERSON_OF)}, repeats=5)
    return project, key


def put(client: QueryClient, key: str, name: str, body: Any) -> Any:
    return client.send("PUT", f"{BASE_PATH}/cohorts/{name}", key, json=body)


def get(client: QueryClient, key: str, name: str = "") -> Any:
    return client.send("GET", f"{BASE_PATH}/cohorts{'/' if name else ''}{name}", key)


def test_each_kind_of_query_is_here() -> None:
    assert set(QUERIES) == set(INSIGHTS)


@pytest.mark.parametrize("kind", QUERIES)
def test_a_saved_rule_is_as_if_it_stood_there(client: QueryClient, project: tuple[str, str], kind: str) -> None:
    _, key = project
    assert put(client, key, "payers", {"cohort": RULE}).status_code == 200
    for wrap in (lambda c: c, lambda c: {"not": c}, lambda c: {"and": [c, {"did_not": "nothing", **WINDOW}]}):
        named = client.ask(f"/query/{kind}", key, {**QUERIES[kind], "cohort": wrap({"saved": "payers"})})
        assert named == client.ask(f"/query/{kind}", key, {**QUERIES[kind], "cohort": wrap(RULE)})
        assert named != client.ask(f"/query/{kind}", key, {**QUERIES[kind], "cohort": wrap({"did": "x", **WINDOW})})


def test_a_list_is_the_people_of_its_ids(client: QueryClient, project: tuple[str, str], clickhouse: Any) -> None:
    name, key = project
    saved = put(client, key, "a/b ü", {"ids": ["u1", "device", "u3", "u3"]}).json()
    assert (saved["kind"], saved["ids"], saved["name"]) == ("list", 3, "a/b ü")
    of_list = {"cohort": {"saved": "a/b ü"}}
    assert sorted(client.ask("/query/cohort", key, of_list)["people"]) == ["one", "u3"]
    people = client.ask("/query/people", key, {"query": {"type": "cohort", **of_list}})
    assert (people["count"], sorted(one["person_id"] for one in people["people"])) == (2, ["one", "u3"])
    events = client.ask("/query/events", key, {**WINDOW, **of_list})["events"]
    assert {event["distinct_id"] for event in events} == {"u1", "device", "u3"}
    others = client.ask("/query/events", key, {**WINDOW, "cohort": {"not": of_list["cohort"]}})["events"]
    everything = client.ask("/query/events", key, WINDOW)["events"]
    assert len(events) + len(others) == len(everything)
    # In the place of the old one.
    assert put(client, key, "a/b ü", {"ids": ["u2"]}).json()["ids"] == 1
    assert client.ask("/query/cohort", key, of_list)["people"] == ["two"]
    # Who was deleted is in no list.
    send_sql(
        clickhouse,
        f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) SELECT '{name}', 'u2', generateUUIDv4(), now() + 60",
    )
    assert client.ask("/query/cohort", key, of_list)["size"] == 0


def test_people_of_whom_only_a_list_speaks_are_behind_its_number(client: QueryClient, project: tuple[str, str]) -> None:
    _, key = project
    listed = ["u1", "device", "nobody", " ", "=1+1", "u3"]
    put(client, key, "guests", {"ids": listed})
    put(client, key, "others", {"ids": ["somebody"]})
    for rule in (
        {"saved": "guests"},
        {"or": [{"saved": "others"}, {"and": [{"saved": "guests"}, {"not": {"saved": "others"}}]}]},
    ):
        expected = sorted(client.ask("/query/cohort", key, {"cohort": rule})["people"])
        assert {"one", "nobody", " ", "=1+1", "u3"} <= set(expected)
        body: dict[str, Any] = {"query": {"type": "cohort", "cohort": rule}, "limit": 2}
        found: list[str] = []
        while True:
            page = client.ask("/query/people", key, body)
            assert page["count"] == len(expected)
            found += [person["person_id"] for person in page["people"]]
            if "next_cursor" not in page:
                break
            assert len(page["people"]) == 2
            body["cursor"] = page["next_cursor"]
        assert sorted(found) == expected


def test_a_deleted_person_leaves_the_lists(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    insert_keys(clickhouse, [(project, f"both_{project}", ["ingest", "query"])])
    put(client, key, "list", {"ids": ["gone", "stays"]})
    client.ask("/privacy/delete", f"both_{project}", {"distinct_id": "gone"})
    assert client.ask("/query/cohort", key, {"cohort": {"saved": "list"}})["people"] == ["stays"]
    for _ in range(100):
        left = send_sql(clickhouse, f"SELECT distinct_id FROM {COHORT_IDS} WHERE project_id = '{project}'")
        if left == "stays\n":
            return
        client.run(_moment())
    raise AssertionError(left)


def test_in_dashboards_too(client: QueryClient, project: tuple[str, str]) -> None:
    _, key = project
    query = {"type": "cohort", "cohort": {"saved": "later"}}
    dashboard_id = client.ask("/dashboard/create", key, {"name": "x", "queries": [query]})["dashboard_id"]
    run = client.ask(f"/dashboard/run/{dashboard_id}", key, {})
    assert run["answers"][0]["error"]["field"] == "cohort.saved"
    put(client, key, "later", {"ids": ["u5", "nobody"]})
    assert client.ask(f"/dashboard/run/{dashboard_id}", key, {})["answers"][0]["answer"]["size"] == 2


def test_kept_listed_and_deleted(client: QueryClient) -> None:
    (_, key), (_, other) = next(client.projects), next(client.projects)
    assert get(client, key).json() == {"items": []}
    assert put(client, key, "b", {"cohort": {**RULE, "colour": 1}}).json()["warnings"]
    put(client, key, "a", {"ids": ["x"]})
    first, second = get(client, key).json()["items"]
    assert (first["name"], first["kind"], second["name"], second["cohort"]) == ("a", "list", "b", {**RULE, "colour": 1})
    assert get(client, key, "b").json() == second
    assert get(client, other, "b").status_code == 404
    for _ in range(2):
        deleted = client.send("DELETE", f"{BASE_PATH}/cohorts/b", key)
        assert deleted.json() == {"ok": True}
    assert [one["name"] for one in get(client, key).json()["items"]] == ["a"]
    response = client.post("/query/cohort", key, {"cohort": {"saved": "b"}})
    assert (response.status_code, response.json()["error"]["field"]) == (400, "cohort.saved")


def test_what_is_saved_last_counts_whatever_the_clocks_say(client: QueryClient) -> None:
    """Query services have clocks of their own, and a client may meet any of them."""
    _, key = next(client.projects)
    clock = iter(range(10**18, 0, -(10**15)))
    with patch.object(repository, "time", SimpleNamespace(time_ns=lambda: next(clock))):
        put(client, key, "x", {"ids": ["a"]})
        put(client, key, "x", {"ids": ["a", "b"]})
        assert get(client, key, "x").json()["ids"] == 2
        client.send("DELETE", f"{BASE_PATH}/cohorts/x", key)
        assert get(client, key, "x").status_code == 404
        put(client, key, "x", {"cohort": RULE})
        assert get(client, key, "x").json()["kind"] == "rule"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "cohort"),
        ({"cohort": RULE, "ids": ["a"]}, "cohort"),
        ({"ids": []}, "ids"),
        ({"ids": ["a", ""]}, "ids[1]"),
        ({"ids": ["a\0"]}, "ids"),
        ({"cohort": {"saved": "a"}}, "cohort"),
        ({"cohort": {"not": {"saved": "a"}}}, "cohort"),
        ({"cohort": {"did": "a"}}, "cohort.since"),
        ({"cohort": {"did": 1}}, "cohort.did"),
    ],
)
def test_what_is_no_cohort(client: QueryClient, project: tuple[str, str], body: Any, field: str) -> None:
    response = put(client, project[1], "x", body)
    assert (response.status_code, response.json()["error"]["field"]) == (400, field)


def test_no_rule_makes_the_others_unreadable(client: QueryClient) -> None:
    _, key = next(client.projects)
    rule = {**RULE, "note": "x" * 1_000_000}
    assert put(client, key, "small", {"cohort": RULE}).status_code == 200
    response = put(client, key, "large", {"cohort": {**RULE, "note": "x" * 20_000_000}})
    assert (response.status_code, response.json()["error"]["field"]) == (400, "cohort")
    saved = [put(client, key, f"rule {i}", {"cohort": rule}) for i in range(12)]
    assert [one.status_code for one in saved] == [200] * 8 + [400] * 4
    assert saved[-1].json()["error"]["field"] == "cohort"
    assert put(client, key, "rule 0", {"cohort": rule}).status_code == 200  # in its own place
    assert put(client, key, "list", {"ids": ["u1"]}).status_code == 200
    assert len(get(client, key).json()["items"]) == 10
    assert client.ask("/query/cohort", key, {"cohort": {"saved": "small"}})["size"] == 0


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"did": "pay", **WINDOW}, ""),
        ({"and": [RULE]}, ""),
        ({"traits": {"person.a": 1}}, ""),
        ({"last": "7d"}, ".last"),
        ({"filter": {"a": 1}}, ".filter"),
        ({"at_least": 2}, ".at_least"),
    ],
)
def test_nothing_goes_with_a_name(client: QueryClient, project: tuple[str, str], more: Any, field: str) -> None:
    """Of a rule as of a list: what stands beside the name would be left out, and the answer be another query's."""
    _, key = project
    put(client, key, "rule", {"cohort": RULE})
    put(client, key, "ids", {"ids": ["u1"]})
    for name in ("rule", "ids"):
        for kind, query in QUERIES.items():
            cohort = {"or": [{"saved": name}, {"saved": name, **more}]}
            response = client.post(f"/query/{kind}", key, {**query, "cohort": cohort})
            assert (response.status_code, response.json()["error"]["field"]) == (400, f"cohort.or[1]{field}")


def test_a_rule_that_has_no_whole_day_yet_is_one(client: QueryClient, project: tuple[str, str]) -> None:
    rule = {"did": "a", "this": "day", "whole_periods": True}
    assert put(client, project[1], "today", {"cohort": rule}).status_code == 200
    nested = {"not": {"or": [{"traits": {"person.a": 1}}, {"and": [rule]}]}}
    assert put(client, project[1], "nested", {"cohort": nested}).status_code == 200
    queries = [{"type": "cohort", "cohort": nested}, {"type": "trends", **QUERIES["trends"], "cohort": rule}]
    dashboard_id = client.ask("/dashboard/create", project[1], {"name": "x", "queries": queries})["dashboard_id"]
    answers = client.ask(f"/dashboard/run/{dashboard_id}", project[1], {})["answers"]
    assert [answer["error"]["code"] for answer in answers] == ["invalid_window"] * 2
    # All else of it is looked at.
    wrong = {"and": [rule, {"did": "a", "last": "x"}]}
    assert put(client, project[1], "wrong", {"cohort": wrong}).json()["error"]["field"] == "cohort.and[1].last"
    odd = {"traits": {"person.a": 1}, "whole_periods": True}
    assert put(client, project[1], "wrong", {"cohort": odd}).status_code == 400


def test_lists_that_no_name_leads_to_go_in_the_end(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    put(client, key, "list", {"ids": ["old"]})
    put(client, key, "list", {"ids": ["new"]})
    send_sql(
        clickhouse,
        f"ALTER TABLE {COHORT_IDS} UPDATE added_at = added_at - toIntervalHour(2) WHERE project_id = '{project}' "
        "SETTINGS mutations_sync = 1",
    )

    async def sweep_twice() -> list[int]:
        database = ClickHouse(as_role(clickhouse, Role.QUERY))
        limits = Limits.of(QuerySettings())
        cohorts = SavedCohorts(
            database, StoreTurns(QueryExecutor(database, limits, ProjectFacts(database, 60)), limits)
        )
        try:
            return [await cohorts.sweep(), await cohorts.sweep(), await cohorts.sweep()]
        finally:
            await database.close()

    first, second, _ = client.run(sweep_twice())
    assert (first, second) == (0, 1)
    left = f"SELECT distinct_id FROM {COHORT_IDS} WHERE project_id = '{project}' AND list_id IN "
    named = f"(SELECT list_id FROM {COHORTS} WHERE project_id = '{project}')"
    for _ in range(100):
        if send_sql(clickhouse, left + named) == "new\n":
            break
        client.run(_moment())
    assert send_sql(clickhouse, left + named) == "new\n"


def test_the_service_itself_lets_them_go(clickhouse: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never began to: who was on a list that was replaced or deleted stayed on the disk for ever."""
    line = {"project_id": "p", "list_id": "nobody's", "distinct_id": "a", "added_at": "2026-01-01 00:00:00.000000"}
    insert_lines(clickhouse, COHORT_IDS, json.dumps(line).encode())
    monkeypatch.setattr(repository, "SWEEP_EVERY_S", 0.2)
    with QueryClient.started(clickhouse, projects=1) as client:
        for _ in range(200):
            if (left := send_sql(clickhouse, f"SELECT count() FROM {COHORT_IDS} WHERE project_id = 'p'")) == "0\n":
                break
            client.run(_moment())
    assert left == "0\n"


async def _moment() -> None:
    await asyncio.sleep(0.1)


def test_slow_uploads_hold_up_no_rule_of_others(client: QueryClient) -> None:
    (_, slow), (_, other) = next(client.projects), next(client.projects)

    async def race() -> None:
        go_on, begun = asyncio.Event(), []

        async def body() -> AsyncIterator[bytes]:
            yield b'{"ids": ["a"'
            begun.append(True)
            await go_on.wait()
            yield b"]}"

        def save(key: str, name: str, **sent: Any) -> Any:
            headers = {"authorization": f"Bearer {key}"}
            return client.http.put(f"{BASE_PATH}/cohorts/{name}", headers=headers, **sent)

        uploads = [asyncio.create_task(save(slow, f"long {i}", content=body())) for i in range(2)]
        async with asyncio.timeout(10):
            while len(begun) < 2:  # noqa: ASYNC110 (nobody tells us)
                await asyncio.sleep(0.01)
        for small in ({"cohort": RULE}, {"ids": ["u1"]}):
            assert (await save(other, "small", json=small)).status_code == 200
        long = await save(other, "long", json={"ids": [f"{i:0100}" for i in range(11_000)]})
        assert (long.status_code, long.headers["retry-after"]) == (429, "5")
        go_on.set()
        assert [(await upload).status_code for upload in uploads] == [200, 200]

    client.run(race())
