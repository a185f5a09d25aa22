"""The envelope: what is packed is found again, and what is no envelope is said to be none."""

import json
from datetime import UTC, datetime

import pytest
from msgspec import Raw

from services.contract.log.envelope import (
    ID_BYTES,
    IDS_HEADER,
    Envelope,
    EventLine,
    IdentityLine,
    MalformedEnvelopeError,
    merge,
    pack,
    unpack,
)

AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)


def line(n: int, properties: bytes = b"{}") -> EventLine:
    return EventLine("shop", f"{n:032x}", "a", "user_42", AT, AT, Raw(properties))


def ids(*numbers: int) -> list[bytes]:
    return [n.to_bytes(ID_BYTES, "big") for n in numbers]


def test_an_event_is_one_line_with_the_names_of_the_columns_that_are_not_empty() -> None:
    envelope = pack(ids(1), [line(1, b'{"a": [1, 2.50]}')])
    assert envelope.lines.endswith(b"}\n")
    assert envelope.lines.count(b"\n") == 1
    assert json.loads(envelope.lines) == {
        "project_id": "shop",
        "event_id": "0" * 31 + "1",
        "event": "a",
        "distinct_id": "user_42",
        "timestamp": "2026-11-20T12:00:00.123456Z",
        "received_at": "2026-11-20T12:00:00.123456Z",
        "properties": {"a": [1, 2.5]},
    }
    assert b'{"a": [1, 2.50]}' in envelope.lines


def test_an_identity_message_is_one_line_with_all_its_columns() -> None:
    message = IdentityLine(
        project_id="shop", event_id="0" * 32, kind="alias", distinct_id="b", timestamp=AT, received_at=AT, old_id="a"
    )
    row = json.loads(pack(ids(0), [message]).lines)
    assert (row["kind"], row["distinct_id"], row["old_id"], row["traits"]) == ("alias", "b", "a", {})
    assert (row["user_id"], row["group_type"], row["group_key"], row["idempotency_key"]) == ("", "", "", "")


def test_the_header_holds_the_ids_in_order() -> None:
    envelope = pack(ids(7, 8), [line(7), line(8)])
    assert envelope.headers() == [(IDS_HEADER, ids(7)[0] + ids(8)[0])]


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_what_was_packed_is_read(count: int) -> None:
    envelope = pack(ids(*range(count)), [line(n) for n in range(count)])
    ((_, packed),) = envelope.headers()
    assert unpack(envelope.lines, packed) == envelope


def test_a_record_without_its_last_newline_is_read_too() -> None:
    envelope = pack(ids(1, 2), [line(1), line(2)])
    assert unpack(envelope.lines[:-1], envelope.ids) == envelope


@pytest.mark.parametrize(
    ("value", "header", "message"),
    [
        (None, b"", "the record is empty"),
        (None, None, "the record is empty"),
        (b"", bytes(16), "the record is empty"),
        (b"{}\n", None, "no ids header"),
        (b"{}\n", b"", "1 lines, but ids for 0"),
        (b"{}\n", bytes(15), "1 lines, but ids for 0.9375"),
        (b"{}\n", bytes(17), "1 lines, but ids for 1.0625"),
        (b"{}\n", bytes(32), "1 lines, but ids for 2"),
        (b"{}\n{}\n", bytes(16), "2 lines, but ids for 1"),
        (b"{}\n\n{}\n", bytes(32), "3 lines, but ids for 2"),
        (b"{}\n" * 5000, bytes(16 * 4999), "5000 lines, but ids for 4999"),
        (b"\xff\xfe", bytes(32), "1 lines, but ids for 2"),
    ],
)
def test_what_is_no_envelope_is_refused_with_the_reason(
    value: bytes | None, header: bytes | None, message: str
) -> None:
    with pytest.raises(MalformedEnvelopeError, match=message):
        unpack(value, header)


def test_envelopes_become_one_in_order() -> None:
    parts = [pack(ids(1), [line(1)]), pack(ids(2, 3), [line(2), line(3)]), pack(ids(4), [line(4)])]
    assert merge(parts) == pack(ids(1, 2, 3, 4), [line(n) for n in (1, 2, 3, 4)])
    assert merge(parts[:1]) is parts[0]
    assert merge([]) == Envelope(b"", b"")
