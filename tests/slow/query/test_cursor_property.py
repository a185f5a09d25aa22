"""Any cursor comes back as it was given out, or is refused."""

from hypothesis import given
from hypothesis import strategies as st

from services.query.request.cursor import Position, read_cursor, write_cursor
from tests.unit.query.test_cursor import CURSOR, refused

positions = st.builds(Position, st.integers(-(2**63), 2**63 - 1), st.binary(min_size=16, max_size=16))


@given(positions, st.binary())
def test_there_and_back(position: Position, query: bytes) -> None:
    assert read_cursor(write_cursor(position, query), query) == position


@given(
    st.integers(0, len(CURSOR) - 1), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
)
def test_each_letter_counts(place: int, letter: str) -> None:
    changed = CURSOR[:place] + letter + CURSOR[place + 1 :]
    if changed != CURSOR:
        refused(changed)
