"""People in ClickHouse are those of the log, whatever the order, the blocks and the repetition of what was said."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.contract.api.privacy import Deletion
from services.contract.log.envelope import IdentityLine
from services.contract.tables import IDENTITY_LOG, PERSON_IDS
from services.edge.intake.identity import take_identify
from services.edge.protocols.messages import MAX_MESSAGES
from services.operations.identity import NoSuchMergeError, unmerge
from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.project_facts import ProjectFacts
from services.query.execution.turns import StoreTurns
from services.query.persons.deletion_queue import DeletionQueues
from services.query.persons.deletions import Deletions, NewDeletion
from services.runtime.clickhouse import ClickHouse, Settings, StoreUnavailableError
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from services.worker.identity.writer import IdentityStore
from tests.fakes.counting_store import CountingStore
from tests.fakes.deletion_log import WorkersAtTheEnd
from tests.support.engine import as_role, insert_lines
from tests.support.examples import examples
from tests.support.oracle_links import Said, people, persons
from tests.support.sayings import IDS, MOMENT, after, identity_line, link, merge, say, sayings

LIMITS = Limits(execution_s=20, memory_bytes=2**30, rows=10**15, concurrency=1, queue=1)


class Crash(CountingStore):
    """Fails at one of the inserts; `stores`: they come through all the same, and nobody is told."""

    table = ""
    stores = False

    async def insert_lines(
        self,
        table: str,
        columns: Sequence[str],
        lines: bytes | Sequence[bytes],
        token: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        if table != self.table or self.stores:
            await super().insert_lines(table, columns, lines, token, settings)
        if table == self.table:
            raise StoreUnavailableError("a crash")


class Tables:
    """The identity tables of a fresh project each time."""

    def __init__(self, clickhouse: ClickHouseSettings, runner: asyncio.Runner) -> None:
        self.query = as_role(clickhouse, Role.QUERY)
        self.worker = as_role(clickhouse, Role.WORKER)
        self.store = CountingStore(self.worker)
        self.crash = Crash(as_role(clickhouse, Role.WORKER))
        self.run = runner.run
        self.project = ""

    def keep(self, said: Sequence[Said], crash: tuple[str, bool] | None = None) -> None:
        """By a worker that has just started; after a crash (of an insert into which table, stored?) by the next one."""
        lines = [identity_line(self.project, one) for one in said]
        if crash:
            self.crash.table, self.crash.stores = crash
            with contextlib.suppress(StoreUnavailableError):
                self.run(IdentityStore(self.crash).keep_lines(lines))
        self.run(IdentityStore(self.store).keep_lines(lines))

    def people(self) -> dict[str, str]:
        """As queries name them: a set's canonical id is in the row of its set id."""
        sql = f"SELECT distinct_id, person_id, name FROM {PERSON_IDS} FINAL WHERE project_id = {{project:String}}"
        rows = self.run(self.store.rows(sql, {"project": self.project}))
        names = {row[0]: row[2] for row in rows if row[2]}
        return {row[0]: names.get(row[1], row[1]) for row in rows}

    def delete(self, distinct_id: str, at: datetime) -> set[str]:
        """As the query service does, to the end. The ids that are gone."""
        found = self.people()
        gone = {one for one, person in found.items() if person == found.get(distinct_id)} or {distinct_id}
        self.run(self._deleted(NewDeletion(distinct_id, None, None), at))
        return gone

    async def _deleted(self, new: NewDeletion, at: datetime) -> None:
        store = ClickHouse(self.query)
        try:
            event_log = WorkersAtTheEnd(self.worker)
            queues = DeletionQueues(store, event_log, lambda: datetime.now(UTC) + timedelta(days=1), 0)
            turns = StoreTurns(QueryExecutor(store, LIMITS, ProjectFacts(store, 60)), LIMITS)
            deletions = Deletions(store, turns, event_log, queues, 1)
            working = asyncio.create_task(queues.run_forever())
            deletion: Deletion | None = await deletions.request(self.project, new, at)
            while deletion and deletion.state != "done":
                await asyncio.sleep(0.02)
                deletion = await deletions.get(self.project, deletion.deletion_id)
            working.cancel()
        finally:
            await store.close()


@pytest.fixture(scope="module")
def of_module(clickhouse: ClickHouseSettings) -> Iterator[Tables]:
    with asyncio.Runner() as runner:
        tables = Tables(clickhouse, runner)
        yield tables
        for store in (tables.store, tables.crash):
            closing: Coroutine[Any, Any, None] = store.close()
            runner.run(closing)


@pytest.fixture
def tables(of_module: Tables) -> Tables:
    of_module.project = str(uuid4())
    return of_module


def in_blocks(data: st.DataObject, said: Sequence[Said]) -> Iterator[Sequence[Said]]:
    """In any order, some of them twice."""
    arriving = data.draw(
        st.permutations([*said, *(data.draw(st.lists(st.sampled_from(said), max_size=4)) if said else [])])
    )
    while arriving:
        size = data.draw(st.integers(1, 6))
        yield arriving[:size]
        arriving = arriving[size:]


# Between two deletions: more than the minute in which clocks may differ.
_DAY_S = 120
crashes = st.none() | st.tuples(st.sampled_from([IDENTITY_LOG, PERSON_IDS]), st.booleans())
_examples = examples(30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@_examples
@given(st.data())
def test_any_order_blocks_and_repetition(of_module: Tables, data: st.DataObject) -> None:
    of_module.project = str(uuid4())
    said = data.draw(sayings())
    for block in in_blocks(data, said):
        of_module.keep(block)
    assert persons(of_module.people(), said) == people(said)


@examples(30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_with_deletions_and_crashes_in_between(of_module: Tables, data: st.DataObject) -> None:
    """What was said of a deleted id before is no more, also where it comes, or comes once more, after the deletion."""
    of_module.project = str(uuid4())
    left: list[Said] = []
    waiting: list[Said] = []
    for day in range(data.draw(st.integers(1, 3))):
        said = [_later(one, _DAY_S * day) for one in data.draw(sayings())]
        blocks = list(in_blocks(data, [*waiting, *said]))
        come = data.draw(st.integers(0, len(blocks)))
        for block in blocks[:come]:
            of_module.keep(block, data.draw(crashes))
        waiting = [one for block in blocks[come:] for one in block]
        left += said
        if data.draw(st.booleans()):
            gone = of_module.delete(data.draw(IDS), after(_DAY_S * day + 10))
            left = [one for one in left if not {one.old, one.new} & gone]
    if waiting:
        of_module.keep(waiting)
    assert persons(of_module.people(), left) == people(left)


def _later(said: Said, seconds: float) -> Said:
    ahead = timedelta(seconds=seconds)
    return Said(said.kind, said.old, said.new, said.time + ahead, said.received + ahead, said.event_id)


@pytest.mark.parametrize(
    "edges",
    [
        pytest.param(list(pairwise("abcdefghij")), id="chain"),
        pytest.param(list(pairwise("abcdefghija")), id="cycle"),
        pytest.param([(one, "hub") for one in "abcdefghi"], id="star"),
        pytest.param([("hub", one) for one in "abcdefghi"], id="star outwards"),
        pytest.param([("a", "b"), ("c", "d"), ("e", "f"), ("b", "d"), ("d", "f")], id="sets of sets"),
    ],
)
@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize("kind", ["alias", "link"])
def test_shapes_in_blocks_forwards_and_backwards(
    tables: Tables, edges: list[tuple[str, str]], block: int, kind: str
) -> None:
    said = [say(kind, *edge, seconds=i) for i, edge in enumerate(edges)]
    for order in (said, said[::-1]):
        tables.project = str(uuid4())
        for at in range(0, len(order), block):
            tables.keep(order[at : at + block])
        tables.keep(order[:1])  # late, and once more
        assert persons(tables.people(), said) == people(said)


def test_two_people_of_one_device_are_two_and_a_person_of_two_devices_is_one(tables: Tables) -> None:
    tables.keep([link("phone", "ann"), link("laptop", "ann", 1), link("phone", "bob", 2)])
    assert tables.people() == {"phone": "ann", "laptop": "ann", "ann": "ann", "bob": "bob"}
    tables.keep([link("bob's", "bob", 3)])
    assert tables.people() == {"phone": "ann", "laptop": "ann", "ann": "ann", "bob's": "bob", "bob": "bob"}


def test_a_link_that_comes_late_parts_what_was_together(tables: Tables) -> None:
    tables.keep([link("phone", "bob", 2), merge("bob's", "bob", 3)])
    assert tables.people() == dict.fromkeys(["phone", "bob's", "bob"], "bob")
    tables.keep([link("phone", "ann", 1)])
    assert tables.people() == {"phone": "ann", "ann": "ann", "bob's": "bob", "bob": "bob"}


def test_a_link_that_stops_counting_lets_another_one_count(tables: Tables) -> None:
    """y -> z counts as long as x -> y does not, which x -> w decides."""
    said = [link("x", "y", 2), link("y", "z", 3)]
    tables.keep(said)
    assert persons(tables.people(), said) == {"x": "y", "y": "y", "z": "z"}
    tables.keep([link("x", "w", 1)])
    assert tables.people() == {"x": "w", "w": "w", "y": "z", "z": "z"}


def test_an_undone_link_lets_the_next_one_count(tables: Tables) -> None:
    tables.keep([link("phone", "ann"), link("phone", "bob", 1)])
    tables.run(unmerge(tables.store, tables.project, "phone", "ann", after(5)))
    assert tables.people() == {"phone": "bob", "bob": "bob", "ann": "ann"}


def test_late_merges_through_a_deleted_id_join_nothing(tables: Tables) -> None:
    tables.keep([merge("a", "x")])
    assert tables.delete("a", after(10)) == {"a", "x"}
    tables.keep([merge("a", "b", 5), merge("a", "c", 5), link("x", "d", 5)])
    tables.keep([merge("x", "b", 5)])
    assert {one: tables.people().get(one, one) for one in "bcd"} == {"b": "b", "c": "c", "d": "d"}
    tables.keep([merge("a", "b", 69), merge("a", "c", 70)])
    assert tables.people().get("b", "b") == "b"  # received within the minute that clocks may differ
    tables.keep([merge("a", "b", 71), merge("a", "c", 72)])
    assert tables.people()["b"] == tables.people()["c"] == "b"


def test_a_key_that_comes_again_with_a_merge_beside_a_link_changes_nothing(tables: Tables) -> None:
    def identify(second: int, **body: str) -> list[IdentityLine]:
        text = msgspec.json.encode({"distinct_id": "d", "idempotency_key": "k"} | body)
        return take_identify(text, tables.project, after(second), None).lines

    for lines in (identify(0), identify(1, user_id="u", alias_for="stranger"), identify(2)):
        tables.run(IdentityStore(tables.store).keep_lines(lines))
    assert tables.people() == {}
    both = identify(3, idempotency_key="other", user_id="u", alias_for="x")
    for lines in (both, identify(4, idempotency_key="other", user_id="u", alias_for="y"), both):
        tables.run(IdentityStore(tables.store).keep_lines(lines))
    assert set(tables.people()) == {"d", "u", "x"}
    assert len(set(tables.people().values())) == 1


def test_a_request_of_as_many_links_as_an_sdk_may_send_is_one_record(tables: Tables) -> None:
    tables.keep([link(f"device {n}", "user") for n in range(MAX_MESSAGES)])
    people = tables.people()
    assert len(people) == MAX_MESSAGES + 1
    assert set(people.values()) == {"user"}


def test_unmerge_parts_the_set_and_a_later_merge_joins_it_again(tables: Tables) -> None:
    project = tables.project
    tables.keep([merge("a", "b"), merge("b", "c"), merge("c", "d")])
    undone = tables.run(unmerge(tables.store, project, "b", "c", after(5)))
    assert (undone.old_person, undone.new_person) == ("b", "d")
    assert tables.people() == {"a": "b", "b": "b", "c": "d", "d": "d"}
    tables.keep([merge("b", "c")])  # received before: stays undone
    assert tables.people() == {"a": "b", "b": "b", "c": "d", "d": "d"}
    tables.run(unmerge(tables.store, project, "a", "b", after(6)))
    assert tables.people() == {"a": "a", "b": "b", "c": "d", "d": "d"}
    tables.keep([merge("b", "c", 7), merge("x", "a")])
    assert tables.people() == {"a": "a", "x": "a", "b": "d", "c": "d", "d": "d"}


def test_unmerge_of_what_is_not_merged_says_what_is(tables: Tables) -> None:
    tables.keep([merge("a", "b")])
    for old, new, says in (("b", "a", "a into b"), ("x", "y", "Neither")):
        with pytest.raises(NoSuchMergeError, match=says):
            tables.run(unmerge(tables.store, tables.project, old, new, MOMENT))


def test_ids_that_other_merges_hold_together_stay_one_person(tables: Tables) -> None:
    tables.keep([merge("a", "b"), merge("b", "c"), merge("a", "c")])
    undone = tables.run(unmerge(tables.store, tables.project, "a", "b", after(1)))
    assert undone.old_person == undone.new_person == "c"


def test_people_from_before_there_were_names(tables: Tables, clickhouse: ClickHouseSettings) -> None:
    """Their person_id is the person's id itself, and their version the number of merges."""
    merges = [merge("a", "b"), merge("b", "c"), merge("x", "y")]
    insert_lines(
        clickhouse, IDENTITY_LOG, msgspec.json.Encoder().encode_lines(identity_line(tables.project, m) for m in merges)
    )
    rows = [("a", "c", 2), ("b", "c", 2), ("c", "c", 2), ("x", "y", 1), ("y", "y", 1)]
    known = [{"project_id": tables.project, "distinct_id": i, "person_id": p, "version": v} for i, p, v in rows]
    insert_lines(clickhouse, PERSON_IDS, msgspec.json.Encoder().encode_lines(known))
    assert tables.people() == {"a": "c", "b": "c", "c": "c", "x": "y", "y": "y"}
    more = [merge("c", "d"), merge("p", "q")]
    tables.keep(more)
    assert tables.people() == people(merges + more)
    tables.keep([merge("y", "a")])
    assert tables.people() == dict.fromkeys("abcdxy", "d") | {"p": "q", "q": "q"}


def test_a_late_block_neither_reads_nor_writes_its_set_of_a_hundred_thousand(
    tables: Tables, clickhouse: ClickHouseSettings
) -> None:
    """tests/slow/worker/test_person_sets_many.py counts all shapes; docs/benchmarks/ingest.md says what they cost."""
    before = [merge(f"anonymous-{i}", "user") for i in range(98_000)]
    lines = [identity_line(tables.project, row) for row in before]
    insert_lines(clickhouse, IDENTITY_LOG, msgspec.json.Encoder().encode_lines(lines))
    known = [
        {"project_id": tables.project, "distinct_id": one, "person_id": "user", "version": len(before)}
        for one in ["user", *(row.old for row in before)]
    ]
    insert_lines(clickhouse, PERSON_IDS, msgspec.json.Encoder().encode_lines(known))
    # From before there were names: once all of it.
    tables.keep([merge(f"early-{i}", "user") for i in range(1000)])
    ((parts,),) = tables.run(
        tables.store.rows(
            f"SELECT uniqExact(_part) FROM {PERSON_IDS} WHERE project_id = {{project:String}} AND (name != '' OR merged_away)",
            {"project": tables.project},
        )
    )
    assert parts == 1  # whole or not at all: 12 MB, more than the store parses as one block by itself
    read, written = tables.store.read, tables.store.written
    tables.keep([(merge, link)[i % 2](f"late-{i}", "user", 1) for i in range(1000)])
    assert tables.store.written - written <= 1001
    assert tables.store.read - read <= 1504  # a line each for the log and for links
    found = tables.people()
    assert len(found) == 100_001
    assert set(found.values()) == {"user"}
