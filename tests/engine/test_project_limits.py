"""Limits of projects on the real tables: what ends, at what price; what is counted, and what `headrace usage` shows."""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from httpx import Response
from prometheus_client import REGISTRY

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError
from services.contract.tables import CATALOG, EVENTS, EXPIRED, IDENTITY_LOG, PROJECT_LIMITS, TAKEN_IDS, USAGE
from services.edge.http.quotas import Quotas
from services.edge.http.usage import Usage
from services.operations.usage import DayOfProject, read_usage
from services.query.catalog.builder import CatalogBuilder
from services.query.execution.store_size import StoreSize
from services.query.expiry import expiry
from services.query.expiry.expiry import Expiry, Mark
from services.runtime.cluster import on_replicas, own_table
from services.runtime.project_limits import ProjectLimits, read_limits, write_limits
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from tests.support.engine import as_role, opened_store, own_rows, send_sql
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.query_client import QueryClient

_REFRESH_S = 0.1
NOW = datetime(2024, 3, 10, 15, 30, tzinfo=UTC)
DAYS = 30
KEPT_SINCE = datetime(2024, 2, 9, tzinfo=UTC)
WINDOW = {"since": "2023-11-01", "until": "2024-04-01"}
PEOPLE = ["u1", "u2", "u3", "only_before"]
BODIES: dict[str, list[dict[str, Any]]] = {
    "/query/events": [
        WINDOW,
        {**WINDOW, "order": "asc", "filter": {"person_id": "u1"}},
        {"since": "2024-02-08T23:59:59.999999Z", "until": "2024-02-09T00:00:00.000001Z"},
    ],
    "/query/retention": [
        {**WINDOW, "born_event": "a", "return_event": "b", "interval": "month"},
        {**WINDOW, "born_event": "a", "return_event": "a", "interval": "week", "first_time": True},
    ],
    "/query/path": [{**WINDOW, "start_event": "a"}],
    "/query/funnel": [{**WINDOW, "steps": [{"event": "a"}, {"event": "b"}], "breakdown": "n"}],
    "/query/trends": [
        {**WINDOW, "interval": "month", "series": [{"event": "a"}, {"event": None, "measure": "people"}]},
        {**WINDOW, "interval": "day", "series": [{"event": "b"}], "breakdown": "n"},
    ],
    "/query/cohort": [
        {"cohort": {"did": "a", **WINDOW}},
        {"cohort": {"not": {"did": "a", **WINDOW}}},
        {"cohort": {"did": "a", **WINDOW, "at_least": 2}},
    ],
}


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    # What the service does by itself goes by the real time, and beside the tests.
    with (
        patch.object(expiry, "_EVERY_S", 3600.0),
        QueryClient.started(clickhouse, projects=20, query_catalog_every_s=3600, keys_refresh_s=_REFRESH_S) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _clean(clickhouse: ClickHouseSettings) -> None:
    for table in (EVENTS, EXPIRED, PROJECT_LIMITS, TAKEN_IDS, CATALOG, USAGE):
        send_sql(clickhouse, f"TRUNCATE TABLE {own_rows(clickhouse, table)}")


def history(seed: int, events: int = 40) -> list[Event]:
    """Of four months, with events at the very border."""
    rng = random.Random(seed)
    border = [KEPT_SINCE - timedelta(microseconds=1), KEPT_SINCE, KEPT_SINCE + timedelta(microseconds=1)]
    times = border + [
        datetime(2023, 11, 20, tzinfo=UTC) + timedelta(minutes=rng.randrange(155_000)) for _ in range(events)
    ]
    return [
        Event(
            str(uuid.UUID(int=rng.getrandbits(128))),
            rng.choice("ab"),
            rng.choice(PEOPLE if time < KEPT_SINCE else PEOPLE[:-1]),
            time,
            json.dumps({"n": rng.randrange(3)}),
        )
        for time in times
    ]


async def mark(clickhouse: ClickHouseSettings, now: datetime = NOW, default_days: int = 0) -> dict[str, Mark]:
    """As the query service's user, and a service of its own each time."""
    async with opened_store(as_role(clickhouse, Role.QUERY)) as opened:
        return await Expiry(opened, default_days, lambda: now).mark()


async def run(clickhouse: ClickHouseSettings, now: datetime = NOW) -> None:
    async with opened_store(as_role(clickhouse, Role.QUERY)) as opened:
        await Expiry(opened, 0, lambda: now).run()
    await mutations_done(clickhouse)


def wait_for_border(client: QueryClient, key: str) -> None:
    """The service reads borders again every so often."""
    for _ in range(200):
        if not client.ask("/query/events", key, {**WINDOW, "until": KEPT_SINCE.isoformat()})["events"]:
            return
        client.run(asyncio.sleep(_REFRESH_S / 2))
    raise AssertionError("the border is not known to the service")


def count(clickhouse: ClickHouseSettings, project: str) -> int:
    return int(send_sql(clickhouse, f"SELECT count() FROM {EVENTS} FINAL WHERE project_id = '{project}'"))


async def keep(clickhouse: ClickHouseSettings, project: str, days: int) -> None:
    await write_limits_as_admin(clickhouse, project, ProjectLimits(retention_days=days))


def test_answers_are_those_of_what_is_kept(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    (whole, key), (kept, kept_key) = next(client.projects), next(client.projects)
    events = history(1)
    person_of = {"u2": "u1"}
    store(
        clickhouse,
        {
            whole: History(events, person_of),
            kept: History([e for e in events if e.time >= KEPT_SINCE], person_of),
        },
        repeats=10,
    )
    before = client.ask("/query/events", key, WINDOW)
    assert len(before["events"]) == len(events)
    client.run(keep(clickhouse, whole, DAYS))
    client.run(mark(clickhouse))
    wait_for_border(client, key)
    for path, bodies in BODIES.items():
        for body in bodies:
            assert client.ask(path, key, body) == client.ask(path, kept_key, body), (path, body)
    for address in ("/persons/u1", "/persons/only_before", "/persons?search=u", "/persons?search=only"):
        found, expected = (client.send("GET", BASE_PATH + address, one) for one in (key, kept_key))
        assert (found.status_code, without_request_id(found.json())) == (
            expected.status_code,
            without_request_id(expected.json()),
        )
    oldest, newest = min(events, key=lambda e: e.time), max(events, key=lambda e: e.time)
    statuses = [client.send("GET", f"{BASE_PATH}/events/{e.event_id}", key).status_code for e in (oldest, newest)]
    assert statuses == [404, 200]
    assert count(clickhouse, whole) == len(events), "nothing is deleted yet"


def test_kept_results_go_when_the_border_moves(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    """Also those that are made of the border of before when the table has the new one already."""
    (project, key), (other, other_key) = next(client.projects), next(client.projects)
    events = history(3)
    store(clickhouse, {project: History(events), other: History(events)})
    body = {**WINDOW, "series": [{"event": None}]}

    def ask(key: str, known: str = "") -> Response:
        headers = {"If-None-Match": known} if known else {}
        return client.send("POST", f"{BASE_PATH}/query/trends", key, json=body, headers=headers)

    def total(response: Response) -> int:
        return int(sum(response.json()["series"][0]["lines"][0]["values"]))

    first, of_other = ask(key), ask(other_key)
    assert total(first) == len(events)
    client.run(keep(clickhouse, project, DAYS))
    client.run(mark(clickhouse))
    while total(ask(key)) == len(events):  # made, and kept, of the border of before
        client.run(asyncio.sleep(_REFRESH_S / 10))
    left = [e for e in events if e.time >= KEPT_SINCE]
    again = ask(key, first.headers["ETag"])
    assert (again.status_code, total(again)) == (200, len(left))
    assert again.headers["ETag"] != first.headers["ETag"]
    assert ask(key, again.headers["ETag"]).status_code == 304
    assert ask(other_key, of_other.headers["ETag"]).status_code == 304, "its border has not moved"


def without_request_id(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "request_id"}


def test_the_catalog_follows(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    (whole, key), (other, other_key) = next(client.projects), next(client.projects)
    events = history(2, 4)
    left = [e for e in events if e.time >= KEPT_SINCE]
    store(clickhouse, {whole: History(events), other: History(events)})

    def counted(key: str) -> int:
        return sum(e["events"] for e in client.ask("/query/catalog", key, {})["events"])

    def sampled(key: str) -> int:
        asked = [client.ask("/query/catalog", key, {"event": name}) for name in "ab"]
        return sum(answer["properties"]["sample"] for answer in asked)

    async def follow() -> AsyncGenerator[int, None]:
        async with opened_store(as_role(clickhouse, Role.QUERY)) as opened:
            builder = CatalogBuilder(opened, 10)
            yield await builder.build()
            await keep(clickhouse, whole, DAYS)
            await mark(clickhouse)
            assert not await builder.is_up_to_date()
            yield await builder.build()
            # One that has not seen how it came to this builds the same.
            yield await CatalogBuilder(opened, 10).build()

    steps = follow()

    async def step() -> int:
        return await anext(steps)

    client.run(step())
    assert (counted(key), counted(other_key)) == (len(events), len(events))
    assert client.run(step()) > 0
    assert (counted(key), counted(other_key)) == (len(left), len(events))
    wait_for_border(client, key)
    assert (sampled(key), sampled(other_key)) == (len(left), len(events))
    assert client.run(step()) == 0
    client.run(steps.aclose())


async def test_whose_events_end_and_when(clickhouse: ClickHouseSettings) -> None:
    await keep(clickhouse, "short", 8)
    await keep(clickhouse, "never", 0)
    marks = await mark(clickhouse, default_days=90)
    assert marks["short"].kept_since == datetime(2024, 3, 2, tzinfo=UTC)
    assert "never" not in marks
    assert marks["project_0"].kept_since == datetime(2023, 12, 11, tzinfo=UTC)
    # Longer from now on: what has ended stays away. A day later the border moves by a day, for those whose it is.
    await keep(clickhouse, "short", 100)
    marks = await mark(clickhouse, NOW + timedelta(days=1), default_days=90)
    assert marks["short"].kept_since == datetime(2024, 3, 2, tzinfo=UTC)
    assert marks["project_0"].kept_since == datetime(2023, 12, 12, tzinfo=UTC)


async def test_months_that_ended_for_all_are_dropped_and_others_are_rewritten_once_a_month(
    clickhouse: ClickHouseSettings,
) -> None:
    events = history(3)
    late = Event(str(uuid.uuid4()), "a", "u1", datetime(2023, 11, 21, tzinfo=UTC), received=datetime.now(UTC))
    store(clickhouse, {"short": History([*events, late]), "long": History(events)})
    await keep(clickhouse, "short", DAYS)
    await keep(clickhouse, "long", 70)  # since 31 December
    await run(clickhouse)
    kept = {
        "short": [e for e in events if e.time >= datetime(2024, 2, 1, tzinfo=UTC)],
        "long": [e for e in events if e.time >= datetime(2023, 12, 1, tzinfo=UTC)],
    }
    assert {project: count(clickhouse, project) for project in kept} == {one: len(of) for one, of in kept.items()}
    assert months(clickhouse) >= {202312, 202401, 202402}
    assert 202311 not in months(clickhouse), "both had ended with it"
    # The id of what came late is known to workers still; of the others the window is long over.
    assert taken(clickhouse) == {late.event_id}

    # The same again, the next day, and by another service: nothing more.
    before = mutations(clickhouse)
    assert before == 1
    for days in (0, 1, 2):
        await run(clickhouse, NOW + timedelta(days=days))
    assert mutations(clickhouse) == before
    # A month later once more.
    await run(clickhouse, NOW + timedelta(days=31))
    assert mutations(clickhouse) == before + 1
    assert count(clickhouse, "short") == len([e for e in events if e.time >= datetime(2024, 3, 1, tzinfo=UTC)])


async def test_what_another_project_stores_in_a_month_that_goes_stays(
    clickhouse: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import of history, say. A server of a cluster that went away meanwhile drops what it was told when it is back."""
    at = datetime(2023, 11, 21, tzinfo=UTC)
    store(clickhouse, {"ends": History([Event(str(uuid.uuid4()), "a", "u1", at)])})
    await keep(clickhouse, "ends", DAYS)
    note_taken = Expiry._note_taken

    async def and_events_come(self: Expiry, *given: Any) -> None:
        await note_taken(self, *given)
        store(clickhouse, {"comes": History([Event(str(uuid.uuid4()), "a", "u1", at)])})

    monkeypatch.setattr(Expiry, "_note_taken", and_events_come)
    await run(clickhouse)
    assert (count(clickhouse, "ends"), count(clickhouse, "comes")) == (0, 1)


async def test_what_comes_in_late_is_hidden_and_goes_with_the_next_month(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    project = "late"
    await keep(clickhouse, project, DAYS)
    await run(clickhouse)
    store(clickhouse, {project: History([Event(str(uuid.uuid4()), "a", "u1", KEPT_SINCE - timedelta(days=60))])})
    await run(clickhouse, NOW + timedelta(days=31))
    assert count(clickhouse, project) == 0


async def test_limits_are_kept_and_changed(clickhouse: ClickHouseSettings) -> None:
    async with opened_store(clickhouse) as opened:
        await write_limits(opened, "shop '\\", ProjectLimits(events_day=5, retention_days=None))
        await write_limits(opened, "shop '\\", ProjectLimits(events_day=2**40, retention_days=90))
        await write_limits(opened, "other", ProjectLimits(events_day=0, retention_days=0))
    async with opened_store(as_role(clickhouse, Role.EDGE)) as opened:
        limits = await read_limits(opened)
    assert limits == {"shop '\\": ProjectLimits(2**40, 90), "other": ProjectLimits(0, 0)}


async def test_usage_is_what_edges_counted_and_what_is_stored(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    now = datetime.now(UTC)
    project, today = "counted '\\", now.date()
    async with opened_store(as_role(clickhouse, Role.EDGE)) as opened:
        for events in (3, 4):  # two processes
            quotas = Quotas(opened, Usage(), 0, lambda: now)
            for _ in range(2):
                quotas.usage.add(project, events, 100 * events)
                await quotas.write()
        await write_limits_as_admin(clickhouse, project, ProjectLimits(events_day=20))
        third = Quotas(opened, Usage(), 0, lambda: now)
        third.usage.add(project, 5, 1)
        await third.refresh()
        third.check(project)
        third.usage.add(project, 1, 1)
        with pytest.raises(ApiError):
            third.check(project)
    happened = [Event(str(uuid.uuid4()), "a", who, now) for who in ("u1", "u2", "u2")]
    store(clickhouse, {project: History(happened)}, repeats=3)
    async with opened_store(as_role(clickhouse, Role.QUERY)) as opened:
        await CatalogBuilder(opened, 10).build()
    async with opened_store(clickhouse) as opened:
        found = await read_usage(opened, project, today, today + timedelta(days=1))
        assert found == [DayOfProject(project=project, day=today, accepted=19, bytes=1401, stored=3, people=2)]
        assert project in {each.project for each in await read_usage(opened, "", today, today + timedelta(days=1))}
        assert await read_usage(opened, project, today - timedelta(days=5), today) == []


async def write_limits_as_admin(clickhouse: ClickHouseSettings, project: str, limits: ProjectLimits) -> None:
    async with opened_store(clickhouse) as opened:
        await write_limits(opened, project, limits)


async def test_the_size_of_the_tables_and_what_fails_are_metrics(clickhouse: ClickHouseSettings) -> None:
    def sample(metric: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(f"headrace_query_{metric}", labels)

    store(clickhouse, {"large": History(history(4))})
    async with opened_store(as_role(clickhouse, Role.QUERY)) as opened:
        await StoreSize(opened).measure()
        own = own_table(EVENTS, clickhouse.clickhouse_cluster)
        assert sample("store_rows", table=EVENTS) == int(send_sql(clickhouse, f"SELECT count() FROM {own}")) > 0
        assert (sample("store_bytes", table=EVENTS) or 0) > 0
        assert sample("failing_mutations") == 0
        # Of the identity log, which nothing else here rewrites.
        send_sql(clickhouse, f"INSERT INTO {IDENTITY_LOG} (project_id, kind) VALUES ('large', 'identify')")
        send_sql(
            clickhouse,
            f"ALTER TABLE {IDENTITY_LOG} DELETE WHERE throwIf(kind = 'identify') SETTINGS mutations_sync = 0",
        )
        for _ in range(200):
            await StoreSize(opened).measure()
            if sample("failing_mutations"):
                break
            await asyncio.sleep(0.05)
        assert sample("failing_mutations") == 1
    send_sql(clickhouse, f"KILL MUTATION WHERE database = currentDatabase() AND table = '{IDENTITY_LOG}' SYNC")


def months(clickhouse: ClickHouseSettings) -> set[int]:
    return {int(month) for month in send_sql(clickhouse, f"SELECT DISTINCT toYYYYMM(timestamp) FROM {EVENTS}").split()}


def taken(clickhouse: ClickHouseSettings) -> set[str]:
    return set(send_sql(clickhouse, f"SELECT event_id FROM {TAKEN_IDS}").split())


def _mutations(clickhouse: ClickHouseSettings) -> str:
    """After SELECT: those of the events, of each server."""
    of_all = on_replicas(clickhouse.clickhouse_cluster, "system.mutations")
    own = own_table(EVENTS, clickhouse.clickhouse_cluster)
    return f"FROM {of_all} WHERE database = currentDatabase() AND table = '{own}'"


def mutations(clickhouse: ClickHouseSettings) -> int:
    """Without those that empty a month."""
    of_all_months = "command LIKE '%DELETE%' AND command NOT LIKE '%IN PARTITION%'"
    return int(send_sql(clickhouse, f"SELECT count(DISTINCT mutation_id) {_mutations(clickhouse)} AND {of_all_months}"))


async def mutations_done(clickhouse: ClickHouseSettings) -> None:
    for _ in range(200):
        if send_sql(clickhouse, f"SELECT count() {_mutations(clickhouse)} AND NOT is_done").strip() == "0":
            return
        await asyncio.sleep(0.05)
    raise AssertionError(send_sql(clickhouse, f"SELECT command, latest_fail_reason {_mutations(clickhouse)}"))
