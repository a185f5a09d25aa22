"""Deleted people are in no answer, whatever comes in late; who comes back afterwards is counted again."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from msgspec import Raw

from services.contract.api.endpoints import BASE_PATH
from services.contract.log.envelope import IdentityLine
from services.contract.tables import DELETED_IDS, EVENTS, IDENTITY_LOG, PERSON_IDS
from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.turns import StoreTurns
from services.query.persons.deletions import Deletions
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings, QuerySettings
from services.schema.roles import Role
from services.worker.identity.writer import IdentityStore
from tests.support import oracle
from tests.support.counting import check_all_counts
from tests.support.engine import as_role, insert_lines, send_sql
from tests.support.examples import examples
from tests.support.histories import IDS, NAMES, ODD_MOMENTS, windows
from tests.support.oracle import Event
from tests.support.oracle_cohorts import cohort, cohorts
from tests.support.oracle_people import PeopleHistory, filtered
from tests.support.people import people_histories, store_people, trait_filters
from tests.support.pipeline import eventually
from tests.support.query_client import QueryClient, insert_keys
from tests.support.sayings import identity_line, link

ZONE = "Europe/Berlin"
MOMENT = ODD_MOMENTS[ZONE]


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=2) as client:
        yield client


@pytest.fixture
def project(client: QueryClient, clickhouse: ClickHouseSettings) -> tuple[str, str]:
    return new_project(clickhouse)


def new_project(clickhouse: ClickHouseSettings) -> tuple[str, str]:
    """With a key that may delete."""
    name = uuid.uuid4().hex
    insert_keys(clickhouse, [(name, f"key-{name}", ["query", "ingest"])])
    return name, f"key-{name}"


def delete(client: QueryClient, key: str, body: dict[str, Any]) -> str:
    response = client.post("/privacy/delete", key, body)
    assert response.status_code == 200, response.text
    deletion_id: str = response.json()["deletion_id"]
    return deletion_id


def state(client: QueryClient, key: str, deletion_id: str) -> dict[str, Any]:
    response = client.send("GET", f"{BASE_PATH}/privacy/delete/{deletion_id}", key)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def done(client: QueryClient, key: str, deletion_id: str) -> dict[str, Any]:
    return eventually(lambda: state(client, key, deletion_id), lambda answer: answer["state"] == "done", within_s=30)


def without(history: PeopleHistory, ids: set[str], until: datetime) -> PeopleHistory:
    return replace(
        history,
        events=[e for e in history.events if e.distinct_id not in ids or e.time > until],
        calls=[c for c in history.calls if c.distinct_id not in ids or c.time > until],
    )


def rows_of(clickhouse: ClickHouseSettings, table: str, project: str) -> int:
    return int(send_sql(clickhouse, f"SELECT count() FROM {table} WHERE project_id = '{project}'"))


@examples(15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_read_leaves_out_what_was_deleted(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    """As it is before ClickHouse has rewritten anything, or when it all comes in later."""
    history, foreign = data.draw(people_histories(ZONE)), data.draw(people_histories(ZONE))
    (name, key), (other, _) = new_project(clickhouse), new_project(clickhouse)
    store_people(clickhouse, {name: history, other: foreign}, repeats=10)
    gone = data.draw(st.sets(st.sampled_from(IDS), min_size=1, max_size=3))
    border = data.draw(st.sampled_from([e.time for e in history.events] or [MOMENT]))
    for distinct_id in gone:
        for before in (border - timedelta(days=1), border):
            row = {"project_id": name, "distinct_id": distinct_id, "deletion_id": str(uuid.uuid4())}
            insert_lines(clickhouse, DELETED_IDS, json.dumps({**row, "before": before.isoformat()}).encode())
    left = without(history, gone, border)
    since, until = data.draw(windows(ZONE))
    body = {"since": since.isoformat(), "until": until.isoformat()}
    conditions = data.draw(trait_filters)
    events = client.ask("/query/events", key, {**body, "filter": conditions})
    assert [e["event_id"] for e in events["events"]] == oracle.events(filtered(left, conditions), since, until)
    names = data.draw(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)))
    check_all_counts(
        client, key, left, (since, until), ZONE, names, {}, data.draw(st.sampled_from([None, "group.company"]))
    )
    rule = data.draw(cohorts)
    if not gone & history.person_of.keys():  # the oracle's everybody knows no deleted merges
        answer = client.ask("/query/cohort", key, {"cohort": rule})
        assert sorted(answer["people"]) == sorted(cohort(left, rule))


def test_a_person_is_gone_at_once_and_late_events_stay_out(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    old = [event("a", "home", -1), event("b", "pay", -2), event("c", "home", -1)]
    store_people(clickhouse, {name: PeopleHistory(old, {"a": "b", "b": "b"})})
    deletion_id = delete(client, key, {"distinct_id": "a"})
    window = {"since": "2000-01-01", "until": "2100-01-01"}

    def people() -> list[str]:
        return [e["distinct_id"] for e in client.ask("/query/events", key, window)["events"]]

    assert people() == ["c"]
    answer = done(client, key, deletion_id)
    assert answer["finished_at"] >= answer["requested_at"]
    assert rows_of(clickhouse, EVENTS, name) == 1
    assert rows_of(clickhouse, PERSON_IDS, name) == 0
    store_people(clickhouse, {name: PeopleHistory([event("b", "late", -3), event("b", "returned", 3650)])})
    assert people() == ["c", "b"]
    assert client.send("GET", f"{BASE_PATH}/persons/a", key).status_code == 404
    assert client.run(swept(clickhouse)) >= 1
    eventually(lambda: rows_of(clickhouse, EVENTS, name), lambda rows: rows == 2, within_s=30)


async def swept(clickhouse: ClickHouseSettings) -> int:
    store = ClickHouse(as_role(clickhouse, Role.QUERY))
    try:
        limits = Limits.of(QuerySettings())
        return await Deletions(store, StoreTurns(QueryExecutor(store, limits), limits), 10).sweep()
    finally:
        await store.close()


def test_whoever_a_deleted_id_joins_later_is_not_deleted(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("a", "home", -1), event("other", "home", -1)])})
    done(client, key, delete(client, key, {"distinct_id": "a"}))
    store_people(clickhouse, {name: PeopleHistory([event("a", "late", -2)], {"a": "other", "other": "other"})})
    client.run(swept(clickhouse))
    eventually(lambda: rows_of(clickhouse, EVENTS, name), lambda rows: rows == 1, within_s=30)
    window = {"since": "2000-01-01", "until": "2100-01-01"}
    assert [e["distinct_id"] for e in client.ask("/query/events", key, window)["events"]] == ["other"]


def test_what_another_user_said_with_a_link_from_a_deleted_id_stays_without_the_id(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    now = datetime.now(UTC)

    def said(prior: str, user: str, minutes: int, traits: str) -> IdentityLine:
        line = identity_line(name, link(prior, user))
        line.timestamp = line.received_at = now + timedelta(minutes=minutes)
        line.traits = Raw(traits.encode())
        return line

    def keep(*lines: IdentityLine) -> None:
        async def stored() -> None:
            store = ClickHouse(clickhouse)
            try:
                await IdentityStore(store).keep_lines(lines)
            finally:
                await store.close()

        client.run(stored())

    keep(said("phone", "ann", -3, '{"name": "Ann"}'), said("phone", "bob", -2, '{"name": "Bob"}'))
    done(client, key, delete(client, key, {"distinct_id": "phone"}))
    assert client.send("GET", f"{BASE_PATH}/persons/ann", key).status_code == 404
    bob = client.send("GET", f"{BASE_PATH}/persons/bob", key).json()
    assert (bob["traits"], bob["links"], bob["distinct_ids"]) == ({"name": "Bob"}, [], ["bob"])
    left = send_sql(clickhouse, f"SELECT count() FROM {IDENTITY_LOG} WHERE project_id = '{name}' AND old_id = 'phone'")
    assert int(left) == 0
    keep(said("phone", "bob", 2, "{}"))
    assert sorted(client.send("GET", f"{BASE_PATH}/persons/bob", key).json()["distinct_ids"]) == ["bob", "phone"]


def test_a_range_of_time(client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]) -> None:
    name, key = project
    times = [datetime(2024, 5, 1, tzinfo=UTC) + timedelta(days=days) for days in range(4)]
    history = [Event(str(uuid.uuid4()), "home", "a", time) for time in times]
    store_people(clickhouse, {name: PeopleHistory(history)})
    window = {"since": "2024-05-02", "until": "2024-05-04"}
    done(client, key, delete(client, key, window))
    left = client.ask("/query/events", key, {"since": "2024-01-01", "until": "2025-01-01"})["events"]
    assert [e["event_id"] for e in left] == [history[0].event_id, history[3].event_id]


def test_a_key_makes_one_deletion(client: QueryClient, project: tuple[str, str]) -> None:
    _, key = project
    body = {"distinct_id": "a", "idempotency_key": "once"}
    assert delete(client, key, body) == delete(client, key, {**body, "distinct_id": "b"})
    assert client.send("GET", f"{BASE_PATH}/privacy/delete/{uuid.uuid4()}", key).status_code == 404
    assert client.send("GET", f"{BASE_PATH}/privacy/delete/nothing", key).status_code == 404


def test_a_key_that_only_reads_cannot_delete(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    insert_keys(clickhouse, [("reader", "key-reader", ["query"])])
    response = client.post("/privacy/delete", "key-reader", {"distinct_id": "a"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


def event(distinct_id: str, name: str, days_from_now: int) -> Event:
    return Event(str(uuid.uuid4()), name, distinct_id, datetime.now(UTC) + timedelta(days=days_from_now))


def mutations(clickhouse: ClickHouseSettings, ids: list[str]) -> int:
    found = " OR ".join(f"position(command, '{deletion_id}') > 0" for deletion_id in ids)
    return int(send_sql(clickhouse, f"SELECT count() FROM system.mutations WHERE {found}"))


def test_unknown_ids_make_no_mutation_and_hide_what_comes_late(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("known", "home", -1)])})
    ids = [delete(client, key, {"distinct_id": f"nobody {n}"}) for n in range(40)]
    assert mutations(clickhouse, ids) == 0
    assert {state(client, key, deletion_id)["state"] for deletion_id in ids} == {"done"}
    store_people(clickhouse, {name: PeopleHistory([event("nobody 7", "late", -1)])})
    window = {"since": "2000-01-01", "until": "2100-01-01"}
    assert [e["distinct_id"] for e in client.ask("/query/events", key, window)["events"]] == ["known"]
    empty = delete(client, key, {"since": "2001-01-01", "until": "2001-02-01"})
    assert (mutations(clickhouse, [empty]), state(client, key, empty)["state"]) == (0, "done")
    client.run(swept(clickhouse))
    eventually(lambda: rows_of(clickhouse, EVENTS, name), lambda rows: rows == 1, within_s=30)


def test_only_tables_that_have_something_are_rewritten(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("a", "home", -1)])})
    deletion_id = delete(client, key, {"distinct_id": "a"})
    assert mutations(clickhouse, [deletion_id]) == 1
    assert done(client, key, deletion_id)


def test_so_many_deletions_of_a_project_are_under_way_at_once(
    clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event(f"p{n}", "home", -1) for n in range(8)])})
    send_sql(clickhouse, f"SYSTEM STOP MERGES {EVENTS}")
    try:
        with QueryClient.started(clickhouse, projects=1, query_deletions_per_project=3) as few:
            ids = [delete(few, key, {"distinct_id": f"p{n}"}) for n in range(3)]
            refused = few.post("/privacy/delete", key, {"distinct_id": "p3"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
            assert refused.headers["retry-after"]
            send_sql(clickhouse, f"SYSTEM START MERGES {EVENTS}")
            for deletion_id in ids:
                eventually(lambda one=deletion_id: mutations_done(clickhouse, one), bool, within_s=30)  # type: ignore[misc]
            # Nobody has asked for the states; whoever wants another deletion makes the service look.
            assert delete(few, key, {"distinct_id": "p3"})
    finally:
        send_sql(clickhouse, f"SYSTEM START MERGES {EVENTS}")


def mutations_done(clickhouse: ClickHouseSettings, deletion_id: str) -> bool:
    sql = f"SELECT count() FROM system.mutations WHERE position(command, '{deletion_id}') > 0 AND NOT is_done"
    return send_sql(clickhouse, sql).strip() == "0"
