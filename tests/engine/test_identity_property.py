"""People in ClickHouse are those of the log, whatever the order, the blocks and the repetition of merges and unmerges."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contract.log.envelope import IdentityLine
from services.contract.tables import IDENTITY_LOG, PERSON_IDS
from services.operations.identity import NoSuchMergeError, unmerge
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from services.worker.identity.writer import IdentityStore
from tests.fakes.counting_store import CountingStore
from tests.support.engine import as_role, insert_lines

MOMENT = datetime(2026, 11, 20, tzinfo=UTC)
IDS = st.sampled_from(["a", "b", "c", "d", "é '\\", "f"])
# (old id, new id, a merge or an unmerge, seconds after the moment, event id)
ROWS = st.lists(
    st.tuples(IDS, IDS, st.sampled_from([True, True, False]), st.integers(0, 3), st.uuids()),
    max_size=12,
    unique_by=lambda row: row[4],
)
Row = tuple[str, str, bool, int, UUID]


class Tables:
    """The identity tables of a fresh project each time."""

    def __init__(self, clickhouse: ClickHouseSettings, runner: asyncio.Runner) -> None:
        self.store = CountingStore(as_role(clickhouse, Role.WORKER))
        self.run = runner.run
        self.project = ""

    def keep(self, rows: Sequence[Row]) -> None:
        lines = [line(self.project, row) for row in rows]
        self.run(IdentityStore(self.store).keep_lines(lines))

    def people(self) -> dict[str, str]:
        """As queries name them: a set's name is in the row of its key."""
        sql = f"SELECT distinct_id, person_id, name FROM {PERSON_IDS} FINAL WHERE project_id = {{project:String}}"
        rows = self.run(self.store.rows(sql, {"project": self.project}))
        names = {row[0]: row[2] for row in rows if row[2]}
        return {row[0]: names.get(row[1], row[1]) for row in rows}


@pytest.fixture(scope="module")
def of_module(clickhouse: ClickHouseSettings) -> Iterator[Tables]:
    with asyncio.Runner() as runner:
        tables = Tables(clickhouse, runner)
        yield tables
        closing: Coroutine[Any, Any, None] = tables.store.close()
        runner.run(closing)


@pytest.fixture
def tables(of_module: Tables) -> Tables:
    of_module.project = str(uuid4())
    return of_module


def line(project: str, row: Row) -> IdentityLine:
    old_id, new_id, merges, seconds, event_id = row
    time = MOMENT + timedelta(seconds=seconds)
    return IdentityLine(
        project_id=project,
        event_id=event_id.hex,
        kind="alias" if merges else "unmerge",
        distinct_id=new_id,
        timestamp=time,
        received_at=time,
        old_id=old_id,
    )


def merge(old_id: str, new_id: str) -> Row:
    return old_id, new_id, True, 0, uuid4()


def expected(rows: Sequence[Row]) -> dict[str, str]:
    """By brute force: of each pair the last row counts; sets are joined until nothing changes."""
    last: dict[tuple[str, str], bool] = {}
    for old_id, new_id, merges, _, _ in sorted(rows, key=lambda row: (row[3], row[4].int)):
        last[old_id, new_id] = merges
    in_force = [pair for pair, merges in last.items() if merges]
    set_of = {one: {one} for pair in last for one in pair}
    for _ in set_of:
        for old_id, new_id in in_force:
            joined = set_of[old_id] | set_of[new_id]
            for member in joined:
                set_of[member] = joined
    merged_away = {old_id for old_id, new_id in in_force if old_id != new_id}
    return {one: min(members - merged_away or members) for one, members in set_of.items()}


_examples = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@_examples
@given(st.data())
def test_any_order_blocks_and_repetition(of_module: Tables, data: st.DataObject) -> None:
    of_module.project = str(uuid4())
    rows: list[Row] = data.draw(ROWS)
    arriving = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else []))
    while arriving:
        size = data.draw(st.integers(1, 6))
        of_module.keep(arriving[:size])
        arriving = arriving[size:]
    assert of_module.people() == expected(rows)


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
def test_shapes_in_blocks_forwards_and_backwards(tables: Tables, edges: list[tuple[str, str]], block: int) -> None:
    rows = [merge(*edge) for edge in edges]
    for order in (rows, rows[::-1]):
        tables.project = str(uuid4())
        for at in range(0, len(order), block):
            tables.keep(order[at : at + block])
        tables.keep(order[:1])  # late, and once more
        assert tables.people() == expected(rows)


def test_unmerge_parts_the_set_and_a_later_merge_joins_it_again(tables: Tables) -> None:
    project = tables.project
    tables.keep([merge("a", "b"), merge("b", "c"), merge("c", "d")])
    undone = tables.run(unmerge(tables.store, project, "b", "c", MOMENT + timedelta(seconds=5)))
    assert (undone.old_person, undone.new_person) == ("b", "d")
    assert tables.people() == {"a": "b", "b": "b", "c": "d", "d": "d"}
    tables.keep([merge("b", "c")])  # received before: stays undone
    assert tables.people() == {"a": "b", "b": "b", "c": "d", "d": "d"}
    tables.run(unmerge(tables.store, project, "a", "b", MOMENT + timedelta(seconds=6)))
    assert tables.people() == {"a": "a", "b": "b", "c": "d", "d": "d"}
    tables.keep([("b", "c", True, 7, uuid4()), merge("x", "a")])
    assert tables.people() == {"a": "a", "x": "a", "b": "d", "c": "d", "d": "d"}


def test_unmerge_of_what_is_not_merged_says_what_is(tables: Tables) -> None:
    tables.keep([merge("a", "b")])
    for old, new, says in (("b", "a", "a into b"), ("x", "y", "Neither")):
        with pytest.raises(NoSuchMergeError, match=says):
            tables.run(unmerge(tables.store, tables.project, old, new, MOMENT))


def test_ids_that_other_merges_hold_together_stay_one_person(tables: Tables) -> None:
    tables.keep([merge("a", "b"), merge("b", "c"), merge("a", "c")])
    undone = tables.run(unmerge(tables.store, tables.project, "a", "b", MOMENT + timedelta(seconds=1)))
    assert undone.old_person == undone.new_person == "c"


def test_people_from_before_there_were_names(tables: Tables, clickhouse: ClickHouseSettings) -> None:
    """Their person_id is the person's id itself, and their version the number of merges."""
    merges = [merge("a", "b"), merge("b", "c"), merge("x", "y")]
    insert_lines(clickhouse, IDENTITY_LOG, msgspec.json.Encoder().encode_lines(line(tables.project, m) for m in merges))
    rows = [("a", "c", 2), ("b", "c", 2), ("c", "c", 2), ("x", "y", 1), ("y", "y", 1)]
    known = [{"project_id": tables.project, "distinct_id": i, "person_id": p, "version": v} for i, p, v in rows]
    insert_lines(clickhouse, PERSON_IDS, msgspec.json.Encoder().encode_lines(known))
    assert tables.people() == {"a": "c", "b": "c", "c": "c", "x": "y", "y": "y"}
    more = [merge("c", "d"), merge("p", "q")]
    tables.keep(more)
    assert tables.people() == expected(merges + more)
    tables.keep([merge("y", "a")])
    assert tables.people() == dict.fromkeys("abcdxy", "d") | {"p": "q", "q": "q"}


def test_a_late_block_neither_reads_nor_writes_its_set_of_a_hundred_thousand(
    tables: Tables, clickhouse: ClickHouseSettings
) -> None:
    """tests/unit/worker/test_person_sets_many.py counts all shapes; docs/benchmarks/ingest.md says what they cost."""
    before = [merge(f"anonymous-{i}", "user") for i in range(98_000)]
    lines = [line(tables.project, row) for row in before]
    insert_lines(clickhouse, IDENTITY_LOG, msgspec.json.Encoder().encode_lines(lines))
    known = [
        {"project_id": tables.project, "distinct_id": one, "person_id": "user", "version": len(before)}
        for one in ["user", *(row[0] for row in before)]
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
    tables.keep([merge(f"late-{i}", "user") for i in range(1000)])
    assert tables.store.written - written <= 1001
    assert tables.store.read - read <= 1002
    people = tables.people()
    assert len(people) == 100_001
    assert set(people.values()) == {"user"}
