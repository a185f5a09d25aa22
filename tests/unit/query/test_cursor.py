"""Cursors come back as they were given out, or are refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.api.errors import ApiError, ErrorCode
from services.query.request.cursor import Position, read_cursor, write_cursor

positions = st.builds(Position, st.integers(-(2**63), 2**63 - 1), st.binary(min_size=16, max_size=16))
POSITION = Position(1_700_000_000_000_000, bytes(range(16)))
CURSOR = write_cursor(POSITION, b"query")


def refused(cursor: str, query: bytes = b"query") -> None:
    with pytest.raises(ApiError) as caught:
        read_cursor(cursor, query)
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_CURSOR, "cursor")


@given(positions, st.binary())
def test_there_and_back(position: Position, query: bytes) -> None:
    assert read_cursor(write_cursor(position, query), query) == position


def test_of_another_question() -> None:
    refused(CURSOR, b"another")


@given(
    st.integers(0, len(CURSOR) - 1), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
)
def test_each_letter_counts(place: int, letter: str) -> None:
    changed = CURSOR[:place] + letter + CURSOR[place + 1 :]
    if changed != CURSOR:
        refused(changed)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "===",
        "\0",
        "é",
        CURSOR + "A",
        CURSOR[:-1],
        CURSOR + "=",
        " " + CURSOR,
        CURSOR.replace("A", "+"),
        "A" * 256,
    ],
)
def test_no_cursor_at_all(cursor: str) -> None:
    refused(cursor)


def test_other_bytes() -> None:
    refused(base64.urlsafe_b64encode(bytes(32)).decode().rstrip("="))
