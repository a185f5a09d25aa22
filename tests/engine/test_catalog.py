"""The catalog says what the oracle counts: at first, after more events, after a deletion, and by another service."""

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import CATALOG_GROUPS, DELETED_IDS, EVENTS, IDENTITY_LOG
from services.query.catalog import builder
from services.query.catalog.builder import CatalogBuilder
from services.query.catalog.read import GROUP_SQL, PEOPLE_SQL, SEARCHED_CALLS
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from tests.support.engine import as_role, own_rows, send_sql
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.oracle_people import Call, PeopleHistory
from tests.support.people import store_people
from tests.support.query_client import QueryClient

START = datetime(2026, 2, 27, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    """Which does not rest between two looks."""
    started = QueryClient.started(clickhouse, projects=20, query_catalog_every_s=0.05)
    with patch.object(builder, "_PAUSES", 0), started as client:
        yield client


def event(name: str, who: str, hours: float, **properties: Any) -> Event:
    return Event(str(uuid.uuid4()), name, who, START + timedelta(hours=hours), json.dumps(properties))


def built(client: QueryClient, key: str, within_s: float = 30, **body: Any) -> Any:
    """The catalog when it is up to date with what is stored by now."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        answer = client.ask("/query/catalog", key, body)
        if not answer["building"] and answer["built_at"]:
            return answer
        client.run(_moment())
    raise AssertionError("it is not built in time")


async def _moment() -> None:
    await asyncio.sleep(0.02)


def shown(events: Sequence[Event], person_of: dict[str, str]) -> list[dict[str, Any]]:
    names = Counter(e.event for e in events)
    rows = []
    for name in sorted(names, key=lambda one: (-names[one], one)):
        of = [e for e in events if e.event == name]
        people = {person_of.get(e.distinct_id, e.distinct_id) for e in of}
        first, last = (at(e.time for e in of).isoformat().replace("+00:00", "Z") for at in (min, max))
        rows.append({"event": name, "events": len(of), "people": len(people), "first_seen": first, "last_seen": last})
    return rows


def test_events(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    (project, key), (other, other_key) = next(client.projects), next(client.projects)
    events = [event(["view", "páy ✓", "view"][i % 3], f"u{i % 7}", i * 3) for i in range(40)]
    person_of = {"u1": "u2"}
    store(clickhouse, {project: History(events, person_of), other: History([event("x", "u1", 1)])}, repeats=15)
    assert built(client, key)["events"] == shown(events, person_of)
    assert [e["event"] for e in built(client, other_key)["events"]] == ["x"]
    # An event of an old day, which comes in late.
    events.append(event("late", "u9", -24 * 200))
    store(clickhouse, {project: History(events[-1:])})
    assert built(client, key)["events"] == shown(events, person_of)
    assert [e["event"] for e in built(client, key, search="PÁY")["events"]] == ["páy ✓"]
    assert len(built(client, key, limit=1)["events"]) == 1

    # A deletion hides, and then the rows go.
    delete(clickhouse, project, "u3")
    left = [e for e in events if e.distinct_id != "u3"]
    assert built(client, key)["events"] == shown(left, person_of)
    send_sql(
        clickhouse,
        f"ALTER TABLE {own_rows(clickhouse, EVENTS)} DELETE WHERE project_id = '{project}' AND (distinct_id = 'u3' OR event = 'late') "
        "SETTINGS mutations_sync = 1",
    )
    left = [e for e in left if e.event != "late"]
    assert built(client, key)["events"] == shown(left, person_of)

    # Whoever comes next finds nothing to do.
    async def another() -> int:
        database = ClickHouse(as_role(clickhouse, Role.QUERY))
        try:
            return await CatalogBuilder(database, 1).build()
        finally:
            await database.close()

    assert client.run(another()) == 0


def test_properties_of_an_event(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    events = [event("buy", f"u{i}", i, plan=["pro", "free", "pro", None][i % 4], cart={"n": i % 2}) for i in range(40)]
    events += [event("buy", "x", 1, plan=1, long="x" * 300), event("other", "x", 1, secret=1)]
    store(clickhouse, {project: History(events)}, repeats=10)
    found = built(client, key, event="buy")["properties"]
    assert (found["event"], found["sample"]) == ("buy", 41)
    by_name = {one["name"]: one for one in found["properties"]}
    assert list(by_name) == ["plan", "cart", "cart.n", "long"]
    assert by_name["plan"]["share"] == 1
    assert by_name["plan"]["types"] == {"null": 10 / 41, "number": 1 / 41, "string": 30 / 41}
    assert by_name["plan"]["top"][:2] == [{"value": "pro", "share": 20 / 41}, {"value": "free", "share": 10 / 41}]
    assert by_name["cart"]["types"] == {"object": 1}
    assert by_name["cart.n"]["top"] == [{"value": 0, "share": 20 / 41}, {"value": 1, "share": 20 / 41}]
    assert by_name["long"]["top"] == []  # too long to be shown
    assert [one["name"] for one in built(client, key, event="buy", search="CART")["properties"]["properties"]] == [
        "cart",
        "cart.n",
    ]
    assert built(client, key, event="nothing")["properties"] == {"event": "nothing", "sample": 0, "properties": []}
    delete(clickhouse, project, "x")
    found = built(client, key, event="buy")["properties"]
    assert (found["sample"], [one["name"] for one in found["properties"]]) == (40, ["cart", "cart.n", "plan"])


def delete(settings: ClickHouseSettings, project: str, who: str) -> None:
    """Hides at once, before any part is rewritten."""
    deleted = f"'{project}', '{who}', generateUUIDv4(), '2026-06-01'"
    send_sql(settings, f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) SELECT {deleted}")


def test_traits_and_groups(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)

    def call(kind: str, who: str, hours: int, traits: dict[str, Any], group: str = "", **more: Any) -> Call:
        return Call(
            str(uuid.uuid4()),
            kind,
            who,
            START + timedelta(hours=hours),
            json.dumps(traits),
            "company" * bool(group),
            group,
        )

    calls = [call("identify", f"u{i}", 0, {"plan": "pro", "age": i}) for i in range(4)]
    calls += [call("identify", "u0", 1, {"age": None}), call("identify", "u1", -1, {"plan": "old"})]
    calls += [call("group", f"u{i}", 0, {"seats": 5}, f"g{i % 2}") for i in range(4)]
    store_people(clickhouse, {project: PeopleHistory([event("a", "u1", 0)], {}, calls)}, repeats=1)
    answer = built(client, key)
    assert answer["people"]["sample"] == 4
    assert [(one["name"], one["share"]) for one in answer["people"]["traits"]] == [("plan", 1), ("age", 0.75)]
    assert answer["people"]["traits"][0]["top"] == [{"value": "pro", "share": 1}]
    (group,) = answer["groups"]
    assert (group["group_type"], group["groups"], group["sample"]) == ("company", 2, 2)
    assert [(one["name"], one["share"]) for one in group["traits"]] == [("seats", 1)]
    assert built(client, key, search="no such name")["groups"] == []
    csv = client.send("POST", f"{BASE_PATH}/query/catalog", key, json={}, headers={"accept": "text/csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    assert csv.text.splitlines()[1].startswith("event,,a,1,1,")


def group_call(who: str, key: str, group_type: str = "company") -> Call:
    return Call(str(uuid.uuid4()), "group", who, START, "{}", group_type, key)


def numbers(answer: Any) -> dict[str, int]:
    return {group["group_type"]: group["groups"] for group in answer["groups"]}


def test_numbers_of_groups(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    (project, key), (other, other_key) = next(client.projects), next(client.projects)
    calls = [group_call(f"u{i}", f"g{i % 3}") for i in range(6)] + [group_call("x", "g0", "team")]
    views = [event("a", "u1", 0)]
    store_people(clickhouse, {project: PeopleHistory(views, {}, calls)}, repeats=4)
    store_people(clickhouse, {other: PeopleHistory(views, {}, [group_call("y", "g0"), group_call("x", "g1", "team")])})
    assert numbers(built(client, key)) == {"company": 3, "team": 1}
    assert list(numbers(built(client, key, search="TEA"))) == ["team"]

    # Calls alone, and no event.
    store_people(
        clickhouse, {project: PeopleHistory([], {}, [group_call("u9", "g9"), group_call("u9", "t", "tenant")])}
    )
    assert numbers(built(client, key)) == {"company": 4, "team": 1, "tenant": 1}
    # The last of a type go, and the type with them: where nobody was deleted, and after a deletion.
    gone = f"ALTER TABLE {own_rows(clickhouse, IDENTITY_LOG)} DELETE WHERE project_id = '{project}'"
    send_sql(clickhouse, f"{gone} AND group_type = 'tenant' SETTINGS mutations_sync = 1")
    assert numbers(built(client, key)) == {"company": 4, "team": 1}
    for who in ("u9", "x"):
        delete(clickhouse, project, who)
    assert numbers(built(client, key)) == {"company": 3}
    # Of a project with deletions calls count, too; the other project's ids of the same name are others.
    store_people(clickhouse, {project: PeopleHistory([], {}, [group_call("u8", "g8")])})
    assert numbers(built(client, key)) == {"company": 4}
    assert numbers(built(client, other_key)) == {"company": 1, "team": 1}

    counted = (
        f"SELECT group_type, groups FROM {CATALOG_GROUPS} FINAL WHERE project_id = '{project}' ORDER BY group_type"
    )
    assert send_sql(clickhouse, counted) == "company\t4\nteam\t0\ntenant\t0\n"
    # Whoever comes next has nothing to write.
    written = f"SELECT max(built) FROM {CATALOG_GROUPS}"
    before = send_sql(clickhouse, written)

    async def another() -> None:
        database = ClickHouse(as_role(clickhouse, Role.QUERY))
        try:
            await CatalogBuilder(database, 1).build()
        finally:
            await database.close()

    client.run(another())
    assert send_sql(clickhouse, written) == before


def silent_calls(settings: ClickHouseSettings, project: str, kind: str, number: int) -> None:
    """Calls of ids that begin with `m`, which say no traits."""
    columns = "project_id, event_id, kind, distinct_id, timestamp, received_at, old_id, group_type, group_key, traits, set_once"
    times = "'2026-02-27 22:00:00', '2026-02-27 22:00:00'"
    of_kind = {
        "identify": "'', '', ''",
        "link": "concat('old', toString(number)), '', ''",
        "group": "'', 'company', toString(number)",
    }
    send_sql(
        settings,
        f"INSERT INTO {IDENTITY_LOG} ({columns}) SELECT '{project}', generateUUIDv4(), '{kind}', concat('m', toString(number)), "
        f"{times}, {of_kind[kind]}, '{{}}', '{{}}' FROM numbers({number})",
    )


def test_rare_traits(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    """They are looked for among the first calls, however many there are; those of one kind are not hidden by another's."""
    project, key = next(client.projects)
    many = SEARCHED_CALLS * 15
    for kind in ("identify", "link", "group"):
        silent_calls(clickhouse, project, kind, many)

    def call(kind: str, who: str, name: str, group: str = "") -> Call:
        return Call(str(uuid.uuid4()), kind, who, START, json.dumps({name: 1}), "company" * bool(group), group)

    calls = [call("link", "a", "early"), call("group", "", "early", "g"), call("group", "z", "late", "g")]
    calls += [call("identify", "z", "late"), call("link", "z", "late")]
    store_people(clickhouse, {project: PeopleHistory([event("a", "u1", 0)], {}, calls)})
    answer = built(client, key)
    assert [one["name"] for one in answer["people"]["traits"]] == ["early"]
    (group,) = answer["groups"]
    assert (group["sample"], [one["name"] for one in group["traits"]]) == (1, ["early"])
    assert abs(group["groups"] / many - 1) < 0.1

    for sql in (PEOPLE_SQL, GROUP_SQL):
        assert rows_read(clickhouse, sql, project=project, type="company") < many / 2


def rows_read(settings: ClickHouseSettings, sql: str, **parameters: str) -> int:
    response = httpx.post(
        settings.clickhouse_url,
        params={
            "database": settings.clickhouse_database,
            "wait_end_of_query": "1",
            **{f"param_{name}": value for name, value in parameters.items()},
        },
        content=sql,
        auth=(settings.clickhouse_user, settings.clickhouse_password),
    )
    assert response.status_code == 200, response.text
    return int(json.loads(response.headers["x-clickhouse-summary"])["read_rows"])


def test_an_empty_project(client: QueryClient) -> None:
    _, key = next(client.projects)
    answer = client.ask("/query/catalog", key, {})
    assert (answer["built_at"], answer["events"], answer["groups"]) == (None, [], [])


def test_large_objects_make_samples_smaller(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    """All that are looked at together are more than a result may have."""
    project, key = next(client.projects)
    store(clickhouse, {project: History([event("large", f"u{i}", i / 100, text="x" * 300_000) for i in range(90)])})
    said = json.dumps({"text": "x" * 60_000})
    calls = [Call(str(uuid.uuid4()), "identify", f"u{i:03d}", START, said) for i in range(400)]
    calls += [Call(str(uuid.uuid4()), "group", f"u{i}", START, said, "team", f"t{i:03d}") for i in range(400)]
    store_people(clickhouse, {project: PeopleHistory([], {}, calls)})
    answer = built(client, key, event="large")
    assert answer["events"][0]["events"] == 90
    for sample in (answer["properties"], answer["people"], *answer["groups"]):
        assert 10 < sample["sample"] < 90
        (one,) = sample.get("properties") or sample["traits"]
        assert (one["name"], one["share"]) == ("text", 1.0)
