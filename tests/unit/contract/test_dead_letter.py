"""A dead letter is written and read whole, and each of its records is small enough, whatever its payload is."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from services.contract.log.dead_letter import PIECE_CHARS, DeadLetter, Origin, Pieces, decode_dead_letter, payload_text
from services.contract.log.topics import MAX_RECORD_BYTES

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


def letter(payload: bytes, origin: Origin) -> DeadLetter:
    return DeadLetter(
        code="invalid_field", message="Mend it.", origin=origin, payload=payload_text(payload), at=AT, project_id="shop"
    )


ORIGINS = [
    Origin(service="edge", index=0),
    Origin(service="worker", topic="t", partition=0, offset=2**40, line=0),
]


@pytest.mark.parametrize("origin", ORIGINS, ids=["edge", "worker"])
def test_what_was_written_is_read(origin: Origin) -> None:
    written = letter(b'{"event": 5, "x": "\xc3\xa9"}', origin)
    assert decode_dead_letter(written.encode()) == written


def test_it_says_only_what_it_knows_of_its_origin() -> None:
    assert json.loads(letter(b"{}", ORIGINS[0]).encode())["origin"] == {"service": "edge", "index": 0}


@pytest.mark.parametrize(
    ("payload", "text"),
    [(b"", ""), (b"\xff\xfe{", "ÿþ{"), ("é".encode() + b"\xe9", "éé"), (b"a\0b", "a\0b"), ("é😀".encode(), "é😀")],
)
def test_a_payload_is_text(payload: bytes, text: str) -> None:
    assert payload_text(payload) == text
    assert decode_dead_letter(letter(payload, ORIGINS[0]).encode()).payload == text


BYTES = pytest.mark.parametrize("byte", [b"\0", b'"', b"\xff", b"x"], ids=["NUL", "quote", "no UTF-8", "letter"])


@BYTES
@pytest.mark.parametrize("size", [0, 1, PIECE_CHARS, PIECE_CHARS + 1])
def test_it_is_whole_and_each_of_its_records_fits_into_the_topic(byte: bytes, size: int) -> None:
    check_whole(byte, size)


def check_whole(byte: bytes, size: int) -> None:
    written = letter(byte * size, ORIGINS[1])
    assert written.payload == payload_text(byte) * size
    records = written.records()
    assert len(records) == max(1, -(-size // PIECE_CHARS))
    assert max(map(len, records)) < 2 * MAX_RECORD_BYTES
    pieces = Pieces()
    *before, last = [pieces.add(decode_dead_letter(record)) for record in reversed(records)]
    assert before == [None] * (len(records) - 1)
    assert last == written
    assert list(pieces.incomplete()) == []


def test_pieces_of_several_letters_may_be_mixed_and_repeated_and_missing() -> None:
    one, two = [letter(byte * (2 * PIECE_CHARS + 5), ORIGINS[0]).records() for byte in (b"a", b"b")]
    pieces = Pieces()
    mixed = [one[2], two[0], one[2], one[0], two[2], one[1]]
    whole = [found for record in mixed if (found := pieces.add(decode_dead_letter(record)))]
    assert [found.payload for found in whole] == ["a" * (2 * PIECE_CHARS + 5)]
    (lacking,) = pieces.incomplete()
    assert lacking.payload == "b" * (PIECE_CHARS + 5)
    assert lacking.message == "Mend it. (2 of the letter's 3 pieces are in the topic)"


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"\xff", b'{"code": 1}'])
def test_what_is_no_dead_letter_is_an_error(value: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_dead_letter(value)
