"""However merges arrive, the rows that are written grow with n log n, not with its square; and people are those of the edges."""

import math
import random
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.log.envelope import IdentityLine
from services.runtime.clickhouse import StoreUnavailableError
from services.worker.identity.person_sets import Edge, canonical_ids
from services.worker.identity.writer import IdentityStore
from tests.fakes.identity_tables import MemoryIdentityTables
from tests.support.oracle_links import Said, people, persons

AT = datetime(2026, 11, 20, tzinfo=UTC)
IDS = 120
NAMES = [f"id-{i:04d}" for i in range(IDS)]


def line(edge: Edge, kind: str = "alias") -> IdentityLine:
    return IdentityLine(
        project_id="shop",
        event_id=uuid.uuid4().hex,
        kind=kind,
        distinct_id=edge[1],
        timestamp=AT,
        received_at=AT,
        old_id=edge[0],
    )


def at_random() -> list[Edge]:
    rng = random.Random(7)
    edges = [(NAMES[i], NAMES[rng.randrange(i)]) for i in range(1, IDS)]
    rng.shuffle(edges)
    return edges


def halves(names: list[str]) -> list[Edge]:
    """Sets of equal size, always two by two."""
    if len(names) < 2:
        return []
    middle = len(names) // 2
    return [*halves(names[:middle]), *halves(names[middle:]), (names[0], names[middle])]


SHAPES: dict[str, list[Edge]] = {
    "star": [(name, "user") for name in NAMES],
    "star outwards": [("user", name) for name in NAMES],
    "chain": list(pairwise(NAMES)),
    "chain backwards": list(pairwise(NAMES))[::-1],
    "cycle": list(pairwise([*NAMES, NAMES[0]])),
    "random": at_random(),
    "halves": halves(NAMES),
    "late and again": [*pairwise(NAMES[::2]), *pairwise(NAMES), *pairwise(NAMES)],
}


@pytest.mark.parametrize("block", [1, 37])
@pytest.mark.parametrize("edges", SHAPES.values(), ids=SHAPES.keys())
async def test_rows_written(edges: list[Edge], block: int) -> None:
    tables = MemoryIdentityTables()
    for at in range(0, len(edges), block):
        # A store of its own each time: nothing is remembered outside the tables.
        await IdentityStore(tables).keep_lines([line(edge) for edge in edges[at : at + block]])
    assert tables.people("shop") == canonical_ids(edges)
    # An end and a key for each merge, and the sets that take another's key: as many as twice the smaller side.
    assert len(tables.person_rows) <= 2 * len(edges) + IDS * math.log2(IDS)
    # With the chain's name in each row these would be IDS * IDS / 2 = 7,200.
    assert 2 * len(edges) + IDS * math.log2(IDS) < 1_800


ROWS = st.tuples(
    st.sampled_from(["alias", "link", "link", "unmerge"]),
    st.sampled_from("abcdef"),
    st.sampled_from("abcdef"),
    st.integers(0, 3),
    st.integers(0, 3),
)


@given(st.data())
async def test_blocks_failures_repeats_links_and_unmerges(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(ROWS, min_size=1, max_size=16))
    said = [
        Said(kind, old, new, AT + timedelta(seconds=at), AT + timedelta(seconds=received), uuid.uuid4().hex)
        for kind, old, new, at, received in drawn
        if kind != "link" or old != new
    ]
    arriving = data.draw(st.permutations(said)) + (
        data.draw(st.lists(st.sampled_from(said), max_size=5)) if said else []
    )
    tables = MemoryIdentityTables()
    while arriving:
        block = arriving[: data.draw(st.integers(1, 8))]
        if data.draw(st.integers(0, 3)) == 3:
            tables.fail_insert(data.draw(st.integers(1, 2)), after=data.draw(st.booleans()))
        try:
            await IdentityStore(tables).keep_lines([line_of(one) for one in block])
        except StoreUnavailableError:
            continue  # from the committed offset, in blocks of other sizes
        arriving = arriving[len(block) :]
    assert persons(tables.people("shop"), said) == people(said)


def line_of(said: Said) -> IdentityLine:
    return IdentityLine(
        project_id="shop",
        event_id=said.event_id,
        kind=said.kind,
        distinct_id=said.new,
        timestamp=said.time,
        received_at=said.received,
        old_id=said.old,
    )
