"""Deleted people are in no answer, whatever comes in late; who comes back afterwards is counted again."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from msgspec import Raw
from xxhash import xxh3_64_hexdigest

from services.contract.api.endpoints import BASE_PATH
from services.contract.deletions import is_covered
from services.contract.log.envelope import IdentityLine
from services.contract.log.marks import MARK_IDS_CHANGED, DeletionLine
from services.contract.log.topics import Partitioning
from services.contract.tables import DELETED_IDS, DELETION_SWEEPS, DELETIONS, EVENTS, IDENTITY_LOG, PERSON_IDS
from services.operations.deletions import replay_deletions
from services.query.execution.project_facts import ProjectFacts
from services.query.persons.deletion_queue import DeletionQueues
from services.query.persons.deletion_rows import NEVER
from services.query.persons.deletion_sweep import DeletionSweep
from services.runtime.clickhouse import ClickHouse, StoreUnavailableError
from services.runtime.clock import utc_now
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from services.worker.dedupe.clickhouse import ClickHouseDedupe
from services.worker.dedupe.ids import ids_from_bytes
from services.worker.dedupe.memory import MemoryDedupe
from services.worker.dedupe.port import Dedupe
from services.worker.identity.writer import IdentityStore
from tests.deploy.env_file import ROOT
from tests.fakes.deletion_log import WorkersAtTheEnd, record_of
from tests.support import oracle
from tests.support.counting import check_all_counts
from tests.support.engine import as_role, insert_lines, send_sql
from tests.support.examples import examples
from tests.support.histories import IDS, NAMES, ODD_MOMENTS, windows
from tests.support.oracle import Event
from tests.support.oracle_cohorts import cohort, cohorts
from tests.support.oracle_links import Said
from tests.support.oracle_people import Call, PeopleHistory, filtered
from tests.support.people import people_histories, store_people, trait_filters
from tests.support.pipeline import eventually
from tests.support.query_client import QueryClient, insert_keys
from tests.support.sayings import identity_line, link

ZONE = "Europe/Berlin"
MOMENT = ODD_MOMENTS[ZONE]


@pytest.fixture(scope="module", autouse=True)
def _looked_at_often() -> Iterator[None]:
    """Most of a deletion's time is that of waiting for the next look."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("services.query.persons.deletion_queue._LOOK_S", 0.05)
        patched.setattr("services.query.persons.deletion_sweep._LOOK_S", 0.05)
        yield


@contextmanager
def asked_as_with(*, many_deleted: bool) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ProjectFacts, "has_many_deleted", lambda _facts, _project_id: many_deleted)
        yield


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
    return eventually(lambda: state(client, key, deletion_id), lambda answer: answer["state"] == "done", within_s=90)


def without(history: PeopleHistory, ids: set[str], until: datetime) -> PeopleHistory:
    return replace(
        history,
        events=[e for e in history.events if e.distinct_id not in ids or not covers(until, e)],
        calls=[c for c in history.calls if c.distinct_id not in ids or not covers(until, c)],
    )


def covers(until: datetime, said: Event | Call) -> bool:
    return is_covered(until, said.received or said.time, said.time)


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
    with asked_as_with(many_deleted=data.draw(st.booleans())):
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
    # Each id is alone, which keeps a worker that was stalled from joining them again.
    rows = send_sql(clickhouse, f"SELECT DISTINCT distinct_id, person_id FROM {PERSON_IDS} WHERE project_id = '{name}'")
    assert sorted(rows.split()) == ["a", "a", "b", "b"]
    store_people(clickhouse, {name: PeopleHistory([event("b", "late", -3), event("b", "returned", 3650)])})
    assert people() == ["c", "b"]
    assert client.send("GET", f"{BASE_PATH}/persons/a", key).status_code == 404
    assert client.run(swept(clickhouse)) >= 1
    eventually(lambda: rows_of(clickhouse, EVENTS, name), lambda rows: rows == 2, within_s=30)


async def swept(clickhouse: ClickHouseSettings) -> int:
    """All of history: what tests say came late has long been received."""
    send_sql(clickhouse, f"TRUNCATE TABLE {DELETION_SWEEPS}")
    store, event_log = ClickHouse(as_role(clickhouse, Role.QUERY)), WorkersAtTheEnd(as_role(clickhouse, Role.WORKER))
    try:
        queues = DeletionQueues(store, event_log, utc_now, 0)
        return await DeletionSweep(store, event_log, queues, 3600).sweep()
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
    keep(said("phone", "bob", 3, "{}"))
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


def test_the_guide_s_deletion_is_found_under_the_id_that_it_shows(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    """Its next block asks for that id, in the project that `make run` makes."""
    guide = (ROOT / "docs" / "how-to" / "delete-a-person.md").read_text()
    insert_keys(clickhouse, [("development", "key-guide", ["query", "ingest"])])
    shown = delete(client, "key-guide", {"distinct_id": "bob", "idempotency_key": "request-17"})
    assert guide.count(shown) == 2
    assert "request-17" in guide


def test_a_key_that_only_reads_cannot_delete(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    insert_keys(clickhouse, [("reader", "key-reader", ["query"])])
    response = client.post("/privacy/delete", "key-reader", {"distinct_id": "a"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


def event(distinct_id: str, name: str, days_from_now: int) -> Event:
    return Event(str(uuid.uuid4()), name, distinct_id, datetime.now(UTC) + timedelta(days=days_from_now))


def mutations(clickhouse: ClickHouseSettings, project: str) -> int:
    tag = xxh3_64_hexdigest(project.encode())
    return int(send_sql(clickhouse, f"SELECT count() FROM system.mutations WHERE position(command, '{tag}') > 0"))


def test_unknown_ids_make_no_mutation_and_hide_what_comes_late(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("known", "home", -1)])})
    ids = [delete(client, key, {"distinct_id": f"nobody {n}"}) for n in range(10)]
    for deletion_id in ids:
        done(client, key, deletion_id)
    assert mutations(clickhouse, name) == 0
    store_people(clickhouse, {name: PeopleHistory([event("nobody 7", "late", -1)])})
    window = {"since": "2000-01-01", "until": "2100-01-01"}
    assert [e["distinct_id"] for e in client.ask("/query/events", key, window)["events"]] == ["known"]
    done(client, key, delete(client, key, {"since": "2001-01-01", "until": "2001-02-01"}))
    assert mutations(clickhouse, name) == 0
    client.run(swept(clickhouse))
    eventually(lambda: rows_of(clickhouse, EVENTS, name), lambda rows: rows == 1, within_s=30)


def test_only_tables_that_have_something_are_rewritten(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("a", "home", -1)])})
    done(client, key, delete(client, key, {"distinct_id": "a"}))
    assert mutations(clickhouse, name) == 1


def test_many_deletions_in_a_row_make_a_mutation_a_table(
    clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    gone = [f"p{n}" for n in range(12)]
    history = [event(one, "home", -1) for one in [*gone, "stays"]]
    store_people(clickhouse, {name: PeopleHistory(history, {"device": "p0", "p0": "p0"})})
    store_people(clickhouse, {name: PeopleHistory([event("device", "home", -2)])})
    with QueryClient.started(clickhouse, projects=1, query_deletions_pause_s=1) as client:
        # However long the requests take here: workers meet them when the last was made.
        client.event_log.is_held = True
        ids = [delete(client, key, {"distinct_id": one}) for one in gone]
        ids.append(delete(client, key, {"since": "2001-01-01", "until": "2001-02-01"}))
        client.run(client.event_log.let_go())
        for deletion_id in ids:
            done(client, key, deletion_id)
        assert rows_of(clickhouse, EVENTS, name) == 1
        assert mutations(clickhouse, name) == 2  # events and person_ids; nothing was said in the identity log


def test_so_many_deletions_of_a_project_wait_at_once(clickhouse: ClickHouseSettings, project: tuple[str, str]) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event(f"p{n}", "home", -1) for n in range(4)])})
    with QueryClient.started(clickhouse, projects=1, query_deletions_per_project=3) as few:
        few.event_log.is_held = True
        ids = [delete(few, key, {"distinct_id": f"p{n}"}) for n in range(3)]
        refused = few.post("/privacy/delete", key, {"distinct_id": "p3"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert refused.headers["retry-after"]
        few.run(few.event_log.let_go())
        for deletion_id in ids:
            done(few, key, deletion_id)
        assert delete(few, key, {"distinct_id": "p3"})


def keep(client: QueryClient, clickhouse: ClickHouseSettings, *lines: IdentityLine) -> None:
    """As a worker does."""

    async def stored() -> None:
        store = ClickHouse(as_role(clickhouse, Role.WORKER))
        try:
            await IdentityStore(store).keep_lines(lines)
        finally:
            await store.close()

    client.run(stored())


def merged(project: str, old_id: str, new_id: str, received: datetime) -> IdentityLine:
    return identity_line(project, Said("alias", old_id, new_id, received, received, str(uuid.uuid4())))


def test_merges_that_were_logged_before_a_deletion_belong_to_it_and_later_ones_do_not(
    clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    now = datetime.now(UTC)
    ids = ["anon", "user", "other", "stranger"]
    store_people(clickhouse, {name: PeopleHistory([event(one, "home", -1) for one in ids])})
    window = {"since": "2000-01-01", "until": "2100-01-01"}
    with QueryClient.started(clickhouse, projects=1) as client:

        def people() -> list[str]:
            return sorted(e["distinct_id"] for e in client.ask("/query/events", key, window)["events"])

        client.event_log.is_held = True
        deletion_id = delete(client, key, {"distinct_id": "user"})
        assert people() == ["anon", "other", "stranger"]
        # The edge had acknowledged it; the worker comes to it only now. Its edge's clock was ahead.
        keep(client, clickhouse, merged(name, "anon", "user", now + timedelta(seconds=20)))
        client.run(client.event_log.let_go())
        assert people() == ["other", "stranger"]
        # Within the minute of the clocks it is the deleted id's, and joins nothing; afterwards it counts, and stays.
        keep(client, clickhouse, merged(name, "user", "stranger", now + timedelta(seconds=40)))
        keep(client, clickhouse, merged(name, "user", "other", now + timedelta(minutes=5)))
        done(client, key, deletion_id)
        client.run(swept(clickhouse))
        assert people() == ["other", "stranger"]
        assert rows_of(clickhouse, EVENTS, name) == 2
        person = client.send("GET", f"{BASE_PATH}/persons/other", key).json()
        assert sorted(person["distinct_ids"]) == ["other", "user"]
        assert client.send("GET", f"{BASE_PATH}/persons/stranger", key).json()["distinct_ids"] == ["stranger"]


def test_what_was_stamped_ahead_is_gone_too(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    now = datetime.now(UTC)
    ahead = Event(str(uuid.uuid4()), "home", "a", now + timedelta(minutes=30), received=now)
    behind = Event(str(uuid.uuid4()), "back", "a", now - timedelta(minutes=30), received=now + timedelta(minutes=5))
    store_people(clickhouse, {name: PeopleHistory([ahead, behind])})
    done(client, key, delete(client, key, {"distinct_id": "a"}))
    window = {"since": "2000-01-01", "until": "2100-01-01"}
    # Who comes back with a clock that is half an hour behind is seen.
    assert [e["event"] for e in client.ask("/query/events", key, window)["events"]] == ["back"]
    assert rows_of(clickhouse, EVENTS, name) == 1


async def duplicates(clickhouse: ClickHouseSettings, where: str, events: Sequence[Event]) -> list[bool]:
    """Whether a worker that starts now takes each for one that was stored."""
    store = ClickHouse(as_role(clickhouse, Role.WORKER))
    week_s = 7 * 24 * 3600
    dedupe: Dedupe = (
        MemoryDedupe(store, week_s, Partitioning(1)) if where == "memory" else ClickHouseDedupe(store, week_s)
    )
    try:
        await dedupe.load({0: datetime.now(UTC).timestamp()})
        ids = ids_from_bytes(b"".join(uuid.UUID(one.event_id).bytes for one in events))
        return [bool(one) for one in await dedupe.duplicates(ids)]
    finally:
        await store.close()


def test_what_came_late_of_a_deleted_person_stays_taken_when_its_window_goes(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("gone", "home", -1)])})
    done(client, key, delete(client, key, {"distinct_id": "gone"}))
    late, of_window = event("gone", "home", -3), event("b", "home", -3)
    received = datetime.now(UTC)
    store_people(clickhouse, {name: PeopleHistory([replace(one, received=received) for one in (late, of_window)])})
    assert rows_of(clickhouse, EVENTS, name) == 2
    day = late.time - timedelta(hours=1)
    window = {"since": day.isoformat(), "until": (day + timedelta(hours=2)).isoformat()}
    done(client, key, delete(client, key, window))
    assert rows_of(clickhouse, EVENTS, name) == 0
    assert client.run(duplicates(clickhouse, "memory", [late, of_window])) == [True, False]


@pytest.mark.parametrize("where", ["memory", "clickhouse"])
def test_keys_of_a_deleted_person_stay_taken_and_those_of_a_window_are_free(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str], where: str
) -> None:
    """Also for a worker that starts afterwards."""
    name, key = project
    of_person, of_window, stays = event("gone", "home", -1), event("b", "home", -3), event("b", "home", -1)
    store_people(clickhouse, {name: PeopleHistory([of_person, of_window, stays])})
    call = merged(name, "device", "gone", datetime.now(UTC))
    keep(client, clickhouse, call)
    events = (of_person, of_window, stays)
    assert client.run(duplicates(clickhouse, where, events)) == [True, True, True]
    day = of_window.time - timedelta(hours=1)
    ids = [
        delete(client, key, {"distinct_id": "gone"}),
        delete(client, key, {"since": day.isoformat(), "until": (day + timedelta(hours=2)).isoformat()}),
    ]
    for deletion_id in ids:
        done(client, key, deletion_id)
    assert rows_of(clickhouse, EVENTS, name) == 1
    assert client.run(duplicates(clickhouse, where, events)) == [True, False, True]
    assert MARK_IDS_CHANGED in client.event_log.marks
    again = msgspec.structs.replace(call, received_at=datetime.now(UTC) + timedelta(hours=1))
    again.timestamp = again.received_at
    keep(client, clickhouse, again)
    assert client.send("GET", f"{BASE_PATH}/persons/device", key).status_code == 404


def test_a_deletion_that_the_log_did_not_take_is_announced_again(
    clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("a", "home", -1)])})
    with QueryClient.started(clickhouse, projects=1) as client:
        client.event_log.is_away = True
        refused = client.post("/privacy/delete", key, {"distinct_id": "a", "idempotency_key": "k"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "log_unavailable")
        assert refused.headers["retry-after"]
        client.event_log.is_away = False
        done(client, key, delete(client, key, {"distinct_id": "a", "idempotency_key": "k"}))
        assert len(client.event_log.announced) == 1
    assert rows_of(clickhouse, EVENTS, name) == 0


def test_a_deletion_of_a_service_that_died_is_done_by_another(
    clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("a", "home", -1)])})
    deletion_id = str(uuid.uuid4())
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    row = {"project_id": name, "deletion_id": deletion_id, "distinct_id": "a", "version": 1}
    insert_lines(clickhouse, DELETIONS, json.dumps({**row, "requested_at": long_ago.isoformat()}).encode())
    with QueryClient.started(clickhouse, projects=1) as client:
        done(client, key, deletion_id)
    assert rows_of(clickhouse, EVENTS, name) == 0


def test_deletions_are_done_again_after_an_older_backup_was_restored(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    backup = PeopleHistory([event("a", "home", -1), event("b", "home", -1), event("stays", "home", -1)])
    store_people(clickhouse, {name: backup})
    made_at = datetime.now(UTC)
    keep(client, clickhouse, merged(name, "a", "b", made_at))
    ids = [delete(client, key, {"distinct_id": "a"})]
    done(client, key, ids[0])
    assert rows_of(clickhouse, EVENTS, name) == 1
    # What the backup has, under the deletions of the database of before.
    store_people(clickhouse, {name: backup})

    async def replayed() -> int:
        store = ClickHouse(clickhouse)
        try:
            return await replay_deletions(store, made_at)
        finally:
            await store.close()

    assert client.run(replayed()) >= 1
    assert state(client, key, ids[0])["state"] == "running"
    with QueryClient.started(clickhouse, projects=1) as another:
        done(another, key, ids[0])
    left = send_sql(clickhouse, f"SELECT DISTINCT distinct_id FROM {EVENTS} WHERE project_id = '{name}'")
    assert left.split() == ["stays"]


def test_a_worker_that_reads_the_log_again_knows_of_deletions_that_the_tables_have_lost(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str]
) -> None:
    name, key = project
    store_people(clickhouse, {name: PeopleHistory([event("a", "home", -1), event("b", "home", -1)])})
    line = DeletionLine(
        deletion_id=str(uuid.uuid4()),
        project_id=name,
        distinct_id="a",
        since=NEVER,
        until=NEVER,
        requested_at=datetime.now(UTC) - timedelta(minutes=5),
    )
    client.run(client.event_log.announce(line))
    with QueryClient.started(clickhouse, projects=1) as another:
        done(another, key, line.deletion_id)
    assert rows_of(clickhouse, EVENTS, name) == 1


class Crash(ClickHouse):
    """Fails once at an insert into one of the tables, before or after it is stored."""

    table = ""
    stores = False

    async def insert_lines(self, table: str, *rest: Any, **options: Any) -> None:
        if table == self.table:
            if self.stores:
                await super().insert_lines(table, *rest, **options)
            self.table = ""
            raise StoreUnavailableError("a crash")
        await super().insert_lines(table, *rest, **options)


@pytest.mark.parametrize("stores", [False, True])
@pytest.mark.parametrize("table", [DELETED_IDS, PERSON_IDS, DELETIONS])
def test_a_worker_that_dies_while_it_settles_a_deletion_settles_it_the_next_time(
    client: QueryClient, clickhouse: ClickHouseSettings, project: tuple[str, str], table: str, stores: bool
) -> None:
    name, key = project
    now = datetime.now(UTC)
    keep(client, clickhouse, merged(name, "anon", "user", now), merged(name, "user", "boss", now))
    store_people(clickhouse, {name: PeopleHistory([event(one, "home", -1) for one in ("anon", "user", "boss", "x")])})
    line = DeletionLine(
        deletion_id=str(uuid.uuid4()), project_id=name, distinct_id="user", since=NEVER, until=NEVER, requested_at=now
    )

    async def settle() -> None:
        store = Crash(as_role(clickhouse, Role.WORKER))
        store.table, store.stores = table, stores
        try:
            with pytest.raises(StoreUnavailableError):
                await IdentityStore(store).keep([record_of(line)])
            assert not await IdentityStore(store).keep([record_of(line, line)])
        finally:
            await store.close()

    client.run(settle())
    with QueryClient.started(clickhouse, projects=1) as another:
        done(another, key, line.deletion_id)
    left = send_sql(clickhouse, f"SELECT distinct_id FROM {EVENTS} WHERE project_id = '{name}'")
    assert left.split() == ["x"]
