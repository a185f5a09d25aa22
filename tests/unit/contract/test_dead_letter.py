"""A dead letter is written, read and small enough, whatever its payload is."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from services.contract.log.dead_letter import MAX_PAYLOAD_BYTES, DeadLetter, Origin, decode_dead_letter, payload_text
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
    [(b"", ""), (b"\xff\xfe{", "\ufffd\ufffd{"), (b"a\0b", "a\0b"), ("é😀".encode(), "é😀")],
)
def test_a_payload_is_text(payload: bytes, text: str) -> None:
    assert payload_text(payload) == text
    assert decode_dead_letter(letter(payload, ORIGINS[0]).encode()).payload == text


@pytest.mark.parametrize("byte", [b"\0", b'"', b"\xff", b"x"], ids=["NUL", "quote", "no UTF-8", "letter"])
def test_it_fits_into_a_record(byte: bytes) -> None:
    payload = byte * (10 * 1024 * 1024)
    assert len(payload_text(payload)) == MAX_PAYLOAD_BYTES
    assert len(letter(payload, ORIGINS[1]).encode()) < 2 * MAX_RECORD_BYTES


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"\xff", b'{"code": 1}'])
def test_what_is_no_dead_letter_is_an_error(value: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_dead_letter(value)
