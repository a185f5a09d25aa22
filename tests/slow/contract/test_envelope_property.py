"""Whatever lines are packed, merged and cut, each is found again, with its id."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from services.contract.log.envelope import ID_BYTES, Envelope, EventLine, MalformedEnvelopeError, merge, pack, unpack
from tests.support.examples import examples

TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
LINES = st.builds(
    lambda event_id, event, distinct_id, timestamp, properties, key: EventLine(
        "shop",
        event_id.hex(),
        event,
        distinct_id,
        timestamp,
        timestamp,
        Raw(json.dumps(properties, ensure_ascii=len(event) % 2 == 0).encode()),
        key,
    ),
    st.binary(min_size=ID_BYTES, max_size=ID_BYTES),
    TEXTS,
    TEXTS,
    TIMES,
    st.dictionaries(TEXTS, JSON, max_size=3),
    TEXTS,
)
ENVELOPES = st.lists(LINES, min_size=1, max_size=5)


def packed(lines: list[EventLine]) -> Envelope:
    return pack([bytes.fromhex(line.event_id) for line in lines], lines)


@examples(50)
@given(st.lists(ENVELOPES, min_size=1, max_size=4))
def test_lines_come_back_in_order_with_their_values(groups: list[list[EventLine]]) -> None:
    envelope = merge([packed(lines) for lines in groups])
    read = unpack(envelope.lines, envelope.ids)
    assert read == envelope
    sent = [line for lines in groups for line in lines]
    rows = [json.loads(text) for text in read.lines.split(b"\n")[:-1]]
    assert len(rows) == len(sent)
    for at, (row, line) in enumerate(zip(rows, sent, strict=True)):
        assert read.ids[at * ID_BYTES : (at + 1) * ID_BYTES].hex() == row["event_id"] == line.event_id
        assert (row["event"], row["distinct_id"], row.get("idempotency_key", "")) == (
            line.event,
            line.distinct_id,
            line.idempotency_key,
        )
        assert row["properties"] == json.loads(bytes(line.properties))
        assert datetime.fromisoformat(row["timestamp"]) == line.timestamp


@examples(50)
@given(ENVELOPES, st.data())
def test_a_record_that_was_cut_is_no_envelope(lines: list[EventLine], data: st.DataObject) -> None:
    """Unless only the last newline, or a part of the last line, is missing: the number of lines is then the same."""
    envelope = packed(lines)
    cut = data.draw(st.integers(0, len(envelope.lines) - 1))
    part = envelope.lines[:cut]
    missing = envelope.lines[cut:].count(b"\n")
    try:
        read = unpack(part, envelope.ids)
    except MalformedEnvelopeError:
        assert missing > 1 or part.endswith(b"\n") or not part
    else:
        assert missing == 1
        assert read.lines == part + b"\n"


@given(st.none() | st.binary(max_size=60), st.none() | st.binary(max_size=60))
def test_anything_else_is_an_envelope_or_malformed(value: bytes | None, ids: bytes | None) -> None:
    try:
        envelope = unpack(value, ids)
    except MalformedEnvelopeError as error:
        assert str(error)  # noqa: PT017 (which one is raised is not the query)
    else:
        assert envelope.lines.endswith(b"\n")
        assert len(envelope.ids) == ID_BYTES * envelope.lines.count(b"\n")
