"""A batch becomes what its messages become one by one: the way for many that need no closer look is only faster."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.contract.log.envelope import pack
from services.edge.protocols.family import Incoming, Options
from services.edge.protocols.segment import Segment
from services.edge.protocols.taken import Taken

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
FAMILY = Segment(Options())
_ids = st.sampled_from(["u1", "u2", "", None, 7, "n1", "0", "ü", "x" * 513, "a\0b"])
_objects = st.sampled_from(
    [
        {},
        {"a": 1},
        {"text": 'ü 😀 " \\'},
        {"$context": 1},
        {"name": "x", "b": [{"c": [1, 2]}] * 3},
        {"deep": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
        {"big": 10**400},
        None,
        [1],
    ]
)
_contexts = st.sampled_from(
    [
        {"ip": "1.2.3.4"},
        {},
        {"traits": {"email": "e"}},
        {"groupId": "g", "os": 1},
        {"library": {"name": "analytics.js"}},
        None,
    ]
)
_times = st.sampled_from(
    ["2026-11-20T11:00:00.123Z", "2026-11-20T11:00:00.000Z", "2026-11-20T11:00:00Z", None, "soon", 1e12]
)
_messages = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "track", "track", "page", "identify", "odd"])},
    optional={
        "event": st.sampled_from(["e", "", 5, "x" * 201]),
        "messageId": st.sampled_from(["m1", "m2", "null", "nil", "", None, "k" * 300]),
        "userId": _ids,
        "anonymousId": _ids,
        "properties": _objects,
        "context": _contexts,
        "timestamp": _times,
        "integrations": st.sampled_from([{}, {"A": True}]),
    },
)
# Most batches are of one kind: only then is the fast way taken. One message that needs a closer look shows for all.
_plain = st.fixed_dictionaries(
    {
        "type": st.just("track"),
        "event": st.just("e"),
        "messageId": st.sampled_from(["m1", "m2", "k" * 300, "nil"]),
        "userId": st.sampled_from(["u1", "ü"]),
        "properties": st.sampled_from([{"a": 1}, {"text": "x"}, {}]),
        "context": st.sampled_from([{"ip": "1.2.3.4"}, {"os": {"name": "x"}}]),
        "timestamp": st.sampled_from(["2026-11-20T11:00:00.123Z", "2026-11-20T11:00:01.123Z"]),
    },
    optional={"anonymousId": _ids},
)


@st.composite
def _one_odd(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages = draw(st.lists(_plain, min_size=10, max_size=14))
    odd = draw(_messages)
    fields = draw(st.sets(st.sampled_from(sorted(odd))))
    place = draw(st.integers(0, len(messages) - 1))
    messages[place] = {**messages[place], **{name: odd[name] for name in fields}}
    return messages


def translated(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str], dict[str, int]]:
    body = json.dumps({"batch": messages, "sentAt": "2026-11-20T12:00:00.000Z"}).encode()
    incoming = Incoming("/v1/batch", {}, {}, data=body)
    parsed = FAMILY.parse(incoming)
    taken = Taken("shop", NOW, parsed.text)
    FAMILY.take(incoming, parsed, taken)
    assert taken.messages + len(taken.rejected) >= len(messages)
    lines = [*taken.events, *taken.identity]
    ids = [*taken.event_ids, *taken.identity_ids]
    rows = [json.loads(line) for line in pack(ids, lines).lines.splitlines()] if lines else []  # type: ignore[arg-type]
    rows.sort(key=lambda row: datetime.fromisoformat(row["received_at"]))
    for row in rows:
        if row.pop("received_at") == row["timestamp"]:
            row["timestamp"] = "received"
        if not row.get("idempotency_key"):
            row.pop("event_id")
    return rows, [one.error.code.code for one in taken.rejected], {k: v for k, v in taken.lost.items() if v}


@given(st.one_of(st.lists(_plain, min_size=10, max_size=20), st.lists(_messages, min_size=10, max_size=14), _one_odd()))
def test_a_batch_is_the_sum_of_its_messages(messages: list[dict[str, Any]]) -> None:
    rows, codes, lost = translated(messages)
    one_by_one = [translated([message]) for message in messages]

    def events(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in found if "event" in row]

    assert events(rows) == [row for found, _, _ in one_by_one for row in events(found)]
    assert len(rows) == sum(len(found) for found, _, _ in one_by_one)
    assert sorted(codes) == sorted(code for _, found, _ in one_by_one for code in found)
    for kind in {*lost, *(kind for _, _, found in one_by_one for kind in found)}:
        assert lost.get(kind, 0) == sum(found.get(kind, 0) for _, _, found in one_by_one)


def test_the_fast_way_is_taken() -> None:
    """Else the property above says nothing."""
    message = {
        "type": "track",
        "event": "e",
        "userId": "u",
        "messageId": "m",
        "properties": {"a": 1},
        "context": {"b": 1},
    }
    body = json.dumps({"batch": [{**message, "timestamp": "2026-11-20T11:00:00.123Z"}] * 10}).encode()
    parsed = FAMILY.parse(Incoming("/v1/batch", {}, {}, data=body))
    taken = Taken("shop", NOW, parsed.text)
    taken.event = None  # type: ignore[assignment, method-assign]
    assert taken.lines == 0
    FAMILY.take(Incoming("/v1/batch", {}, {}, data=body), parsed, taken)
    assert (taken.messages, taken.rejected, taken.lines) == (10, [], 10)
