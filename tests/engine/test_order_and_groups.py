"""Steps at one time go by receipt; a group's past stays its past; traits are what was said last."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.events import EventsQuery
from services.contract.tables import EVENTS, IDENTITY_LOG
from services.query.insights.events import parse_events
from services.query.request.cursor import Position, write_cursor
from services.query.request.decode import decode
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import insert_lines
from tests.support.query_client import QueryClient

AT = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = {"since": "2026-11-01", "until": "2026-12-01"}
DAYS = {"series": [{"event": "pay"}], "interval": "month", **WINDOW}


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=60) as client:
        yield client


def stored(clickhouse: ClickHouseSettings, table: str, *rows: dict[str, Any]) -> None:
    """`at` and `received` are microseconds after AT."""
    lines = []
    for row in rows:
        at, received = (AT + timedelta(microseconds=row.pop(name)) for name in ("at", "received"))
        times = {"timestamp": at.isoformat(), "received_at": received.isoformat()}
        lines.append(json.dumps({"event_id": str(uuid.uuid4()), **times, **row}))
    insert_lines(clickhouse, table, "\n".join(lines).encode())


def event(project: str, name: str, who: str, at: int = 0, received: int = 0, **properties: Any) -> dict[str, Any]:
    said = {"project_id": project, "event": name, "distinct_id": who, "at": at, "received": received}
    return {**said, "properties": json.dumps(properties)}


def call(project: str, kind: str, who: str, at: int, received: int, **fields: Any) -> dict[str, Any]:
    return {"project_id": project, "kind": kind, "distinct_id": who, "at": at, "received": received, **fields}


def group(project: str, who: str, key: str, at: int, received: int, **fields: Any) -> dict[str, Any]:
    return call(project, "group", who, at, received, group_type="company", group_key=key, **fields)


STEPS = ["cart", "pay", "done"]


@pytest.mark.parametrize("order", ["ordered", "strict"])
def test_a_batch_of_one_timestamp_is_a_funnel_in_its_order(
    client: QueryClient, clickhouse: ClickHouseSettings, order: str
) -> None:
    project, key = next(client.projects)
    people = [f"u{i}" for i in range(200)]
    rows = [
        event(project, name, who, received=3 * p + i) for p, who in enumerate(people) for i, name in enumerate(STEPS)
    ]
    stored(clickhouse, EVENTS, *rows)
    funnel = client.ask("/query/funnel", key, {**WINDOW, "steps": [{"event": e} for e in STEPS], "order": order})
    assert [step["people"] for step in funnel["steps"]] == [200, 200, 200]
    path = client.ask("/query/path", key, {**WINDOW, "start_event": "cart", "max_depth": 2})
    pay = path["children"][0]
    assert (pay["event"], pay["count"], pay["children"][0]["event"]) == ("pay", 200, "done")
    listed = client.ask("/query/events", key, {**WINDOW, "limit": 1000})["events"]
    assert [one["event"] for one in listed] == STEPS * 200


def test_two_events_that_are_equal_but_for_their_id_both_count(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    project, key = next(client.projects)
    rows = [event(project, name, "u", received=i) for i, name in enumerate(["home", "view", "view"])]
    rows[2]["received"] = 1
    stored(clickhouse, EVENTS, *rows)
    path = client.ask("/query/path", key, {**WINDOW, "start_event": "home"})
    assert path["children"][0]["children"][0]["event"] == "view"
    steps = [{"event": "home"}, {"event": "view"}, {"event": "view"}]
    funnel = client.ask("/query/funnel", key, {**WINDOW, "steps": steps, "order": "strict"})
    assert [step["people"] for step in funnel["steps"]] == [1, 1, 1]


def test_a_walk_that_began_with_a_cursor_of_before_ends_in_its_order(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    """Such a cursor has no receipt: pages go on by id, and lose and repeat nothing."""
    project, key = next(client.projects)
    ids = [str(uuid.UUID(int=i)) for i in range(1, 7)]
    rows = [{**event(project, "e", "u", received=10 - i), "event_id": one} for i, one in enumerate(ids)]
    stored(clickhouse, EVENTS, *rows)
    body = {**WINDOW, "limit": 2}
    query, _ = decode(json.dumps(body).encode(), EventsQuery)
    spec = parse_events(query, project)
    time_us = int(AT.timestamp() * 1e6)
    cursor = write_cursor(Position(time_us, uuid.UUID(ids[1]).bytes), spec.identity(project))
    seen = []
    while cursor:
        page = client.ask("/query/events", key, {**body, "cursor": cursor})
        seen += [one["event_id"] for one in page["events"]]
        cursor = page.get("next_cursor")
    assert seen == ids[2:]
    assert [e["event_id"] for e in client.ask("/query/events", key, WINDOW)["events"]] == ids[::-1]


def test_events_stay_with_the_group_of_their_time(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    stored(
        clickhouse,
        IDENTITY_LOG,
        group(project, "u", "A", at=10, received=10),
        group(project, "u", "B", at=20, received=20),
    )
    stored(
        clickhouse,
        EVENTS,
        event(project, "pay", "u", at=5, received=5),  # before any group
        event(project, "pay", "u", at=15, received=15),
        event(project, "pay", "u", at=20, received=19),  # of one timestamp, received before the call
        event(project, "pay", "u", at=20, received=21),
        event(project, "pay", "u", at=30, received=30, **{"$groups": {"company": "own"}}),
    )
    broken = client.ask("/query/trends", key, {**DAYS, "breakdown": "group.company"})
    lines = {line.get("value", line["kind"]): sum(line["values"]) for line in broken["series"][0]["lines"]}
    assert lines == {"A": 2, "B": 1, "own": 1, "missing": 1}
    for name, count in (("A", 2), ("B", 1), ("own", 1)):
        found = client.ask("/query/events", key, {**WINDOW, "filter": {"group.company": name}})
        assert len(found["events"]) == count
    others = client.ask("/query/events", key, {**WINDOW, "filter": {"group.company": {"ne": "A"}}})
    assert len(others["events"]) == 3
    counted = client.ask(
        "/query/trends", key, {**DAYS, "aggregate_by": "company", "series": [{"event": "pay", "measure": "people"}]}
    )
    assert counted["series"][0]["lines"][0]["values"] == [3]


def test_whoever_changes_groups_often_is_in_the_group_of_each_time(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    project, key = next(client.projects)
    changes = 100
    calls = [group(project, "system", f"g{i % 7}", at=10 * i, received=10 * i) for i in range(changes)]
    calls += [group(project, "faithful", "home", at=i, received=i) for i in range(changes)]
    stored(clickhouse, IDENTITY_LOG, *calls)
    events = [event(project, "pay", "system", at=10 * i + 5, received=10 * i + 5) for i in range(changes)]
    events += [event(project, "pay", "faithful", at=10 * i, received=10 * i) for i in range(changes)]
    stored(clickhouse, EVENTS, *events)
    expected = Counter(f"g{i % 7}" for i in range(changes)) + Counter({"home": changes})
    broken = client.ask("/query/trends", key, {**DAYS, "breakdown": "group.company", "top": 20})
    lines = {line["value"]: sum(line["values"]) for line in broken["series"][0]["lines"]}
    assert lines == expected
    found = client.ask("/query/events", key, {**WINDOW, "filter": {"group.company": "g3"}})
    assert len(found["events"]) == expected["g3"]


@pytest.mark.parametrize("name", ["$groups", "\\u0024groups", "$\\u0067roups", "$gr\\u006Fups", "$gr\\u006fups"])
@pytest.mark.parametrize(
    ("value", "group"), [('"acme"', "acme"), ("7", "7"), ("true", ""), ('{"a": 1}', ""), ('""', "")]
)
def test_an_events_own_groups_however_they_are_written(
    client: QueryClient, clickhouse: ClickHouseSettings, name: str, value: str, group: str
) -> None:
    project, key = next(client.projects)
    said = {**event(project, "pay", "u"), "properties": f'{{"a": 1, "{name}": {{"other": "x", "company": {value}}}}}'}
    stored(clickhouse, EVENTS, said)
    line = client.ask("/query/trends", key, {**DAYS, "breakdown": "group.company"})["series"][0]["lines"][0]
    assert line.get("value", "") == group


def test_a_groups_own_traits_need_no_member(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    stored(clickhouse, IDENTITY_LOG, group(project, "", "A", 0, 0, traits='{"plan": "pro"}'))
    stored(clickhouse, IDENTITY_LOG, group(project, "u", "A", 0, 1))
    stored(clickhouse, EVENTS, event(project, "pay", "u", at=1, received=2))
    found = client.ask("/query/events", key, {**WINDOW, "filter": {"group.company.plan": "pro"}})
    assert len(found["events"]) == 1
    everybody = client.ask("/query/cohort", key, {"cohort": {"did_not": "nothing", **WINDOW}})
    assert everybody["people"] == ["u"]


@pytest.mark.parametrize(
    ("calls", "plan"),
    [
        pytest.param(
            [({"plan": "first"}, {}), ({"plan": "second"}, {})], "second", id="of one timestamp the later receipt"
        ),
        pytest.param([({"plan": "pro"}, {}), ({"plan": None}, {})], None, id="null removes"),
        pytest.param([({}, {"plan": "a"}), ({}, {"plan": "b"})], "a", id="set once"),
        pytest.param([({"plan": "pro"}, {"plan": "a"})], "pro", id="in one call traits come first"),
        pytest.param(
            [({"plan": "x"}, {}), ({"plan": None}, {"plan": "a"}), ({}, {"plan": "b"})], "a", id="removed, then once"
        ),
        pytest.param([({}, {"plan": "a"}), ({"plan": "pro"}, {}), ({}, {"plan": "b"})], "pro", id="set after once"),
        pytest.param([({}, {"plan": None}), ({}, {"plan": "b"})], "b", id="null once sets nothing"),
    ],
)
def test_a_trait_is_the_fold_of_its_calls(
    client: QueryClient, clickhouse: ClickHouseSettings, calls: list[tuple[dict[str, Any], dict[str, Any]]], plan: Any
) -> None:
    project, key = next(client.projects)
    rows = [
        call(project, "identify", "u", 0, i, traits=json.dumps(traits), set_once=json.dumps(once))
        for i, (traits, once) in enumerate(calls)
    ]
    stored(clickhouse, IDENTITY_LOG, *rows[::-1])
    stored(clickhouse, EVENTS, event(project, "pay", "u"))
    person = client.send("GET", f"{BASE_PATH}/persons/u", key).json()
    assert person["traits"] == ({} if plan is None else {"plan": plan})
    asked = {"exists": False} if plan is None else plan
    assert len(client.ask("/query/events", key, {**WINDOW, "filter": {"person.plan": asked}})["events"]) == 1
