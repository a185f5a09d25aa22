"""People in ClickHouse are those of the log, whatever the order, the blocks and the repetition of merges and unmerges."""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contract.envelope import IdentityLine
from services.contract.events_table import IDENTITY_LOG, PERSON_IDS
from services.operations.identity import NoSuchMergeError, unmerge
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.worker.identity import IdentityStore
from tests.support.engine import insert_lines

pytestmark = pytest.mark.integration

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
        self.store = ClickHouse(clickhouse)
        self.run = runner.run
        self.project = ""

    def keep(self, rows: Sequence[Row], rewrite: bool = False) -> None:
        lines = [line(self.project, row) for row in rows]
        self.run(IdentityStore(self.store).keep_lines(lines, rewrite=rewrite))

    def people(self) -> dict[str, str]:
        sql = f"SELECT distinct_id, person_id FROM {PERSON_IDS} FINAL WHERE project_id = {{project:String}}"
        return {row[0]: row[1] for row in self.run(self.store.rows(sql, {"project": self.project}))}


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


_examples = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@_examples
@given(st.data())
def test_any_order_blocks_and_repetition(of_module: Tables, data: st.DataObject) -> None:
    of_module.project = str(uuid4())
    rows: list[Row] = data.draw(ROWS)
    arriving = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else []))
    while arriving:
        size = data.draw(st.integers(1, 6))
        of_module.keep(arriving[:size], rewrite=data.draw(st.booleans()))
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


def test_a_hundred_thousand_ids_in_one_set(tables: Tables, clickhouse: ClickHouseSettings) -> None:
    """The last blocks, as large as the worker's; what all of them cost is in services/worker/DESIGN.md."""
    before = [line(tables.project, merge(f"anonymous-{i}", "user")) for i in range(98_000)]
    insert_lines(clickhouse, IDENTITY_LOG, msgspec.json.Encoder().encode_lines(before))
    known = [
        {"project_id": tables.project, "distinct_id": one, "person_id": "user", "version": len(before)}
        for one in ["user", *(row.old_id for row in before)]
    ]
    insert_lines(clickhouse, PERSON_IDS, msgspec.json.Encoder().encode_lines(known))
    began = time.monotonic()
    for block in range(2):
        tables.keep([merge(f"late-{block}-{i}", "user") for i in range(1000)])
    took = time.monotonic() - began
    people = tables.people()
    assert len(people) == 100_001
    assert set(people.values()) == {"user"}
    assert took < 60
