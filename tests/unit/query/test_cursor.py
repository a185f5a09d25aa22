"""Cursors come back as they were given out, or are refused."""

import base64

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.query.request.cursor import Position, read_cursor, write_cursor

POSITION = Position(1_700_000_000_000_000, bytes(range(16)))
CURSOR = write_cursor(POSITION, b"query")


def refused(cursor: str, query: bytes = b"query") -> None:
    with pytest.raises(ApiError) as caught:
        read_cursor(cursor, query)
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_CURSOR, "cursor")


def test_of_another_question() -> None:
    refused(CURSOR, b"another")


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
