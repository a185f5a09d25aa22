"""Pictures of any answers: everything stands within its picture, and joins what it belongs to."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.console.results.flow import Spot, Stream, flow_picture
from services.console.results.scale import HIGH, WIDE, scale_of
from tests.unit.console.test_pictures import column


@given(st.lists(st.none() | st.integers(-(2**60), 2**60) | st.floats(-1e300, 1e300), max_size=9))
def test_every_value_lies_between_the_ends_of_its_axis(values: list[float | int | None]) -> None:
    scale = scale_of(values)
    assert 2 <= len(scale.ticks) <= 14
    assert all(0 <= scale.y(value) <= HIGH for value in values if value is not None)


def streams() -> st.SearchStrategy[list[Stream]]:
    """Some out of each spot, from column to column."""

    def between(sizes: list[int]) -> st.SearchStrategy[list[Stream]]:
        pairs: list[tuple[Spot, Spot]] = [
            ((i, f"n{a}"), (i + 1, f"n{b}"))
            for i, (left, right) in enumerate(pairwise(sizes))
            for a in range(left)
            for b in range(right)
        ]
        counts = st.lists(st.integers(1, 10_000), min_size=len(pairs), max_size=len(pairs))
        return counts.map(lambda found: [Stream(*pair, n) for pair, n in zip(pairs, found, strict=True)])

    return st.lists(st.integers(1, 5), min_size=2, max_size=4).flatmap(between)


@given(streams())
def test_spots_of_a_column_do_not_touch_and_streams_join_them(found: list[Stream]) -> None:
    picture = flow_picture(found, last="n0")
    for x in {node.x for node in picture.nodes}:
        nodes = column(picture.nodes, x)
        assert nodes[0].top >= 0
        assert nodes[-1].bottom <= HIGH + len(nodes)
        assert all(above.bottom < below.top for above, below in pairwise(nodes))
        # Who did nothing more stand below the others.
        assert [node.name for node in nodes].index("n0") == len(nodes) - 1
    spots = {(node.x, node.name): node for node in picture.nodes}
    last = picture.columns - 1
    for stream, flow in zip(found, picture.flows, strict=True):
        numbers = [int(text) for text in re.findall(r"\d+", flow.path)]
        source, target = (spots[round(WIDE * s[0] / last), s[1]] for s in (stream.source, stream.target))
        assert (numbers[0], numbers[6]) == (source.x, target.x)
        assert source.top - 1 <= numbers[1] <= numbers[-1] <= source.bottom + 1
        assert target.top - 1 <= numbers[7] <= numbers[8] <= target.bottom + 1
