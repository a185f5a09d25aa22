"""The clean pass and the second pass of the intake agree, no JSON leads anywhere but to an intake or an error, and
what is taken is what was sent."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.log.envelope import EventLine, pack
from services.contract.placeholders import is_placeholder_key
from services.edge.intake.identity import IdentityIntake, take_alias, take_group, take_identify
from services.edge.intake.json_checks import nesting_levels
from services.edge.intake.second_pass import take_batch, take_track
from services.edge.intake.track import Intake
from tests.support.examples import examples

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
PROJECT = "shop"

TEXTS = st.text(max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**308), 10**308)
    | st.integers(10**18, 10**308)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
KEYS = NAMES.filter(lambda key: not is_placeholder_key(key))
TIMES = st.one_of(
    st.datetimes(datetime(2000, 1, 1), datetime(2026, 11, 20, 12)).map(datetime.isoformat),
    st.datetimes(datetime(2000, 1, 2), datetime(2026, 11, 20), timezones=st.timezones()).map(datetime.isoformat),
    st.integers(946_684_800, 1_795_000_000),
    st.integers(946_684_800_000, 1_795_000_000_000),
    st.floats(946_684_800, 1_795_000_000),
    st.integers(1_800_000_000, 99_999_999_999),  # ahead
    st.none(),
)
# All have a key, so that the ids of two passes can be compared.
EVENTS = st.fixed_dictionaries(
    {"event": NAMES, "distinct_id": NAMES, "idempotency_key": KEYS},
    optional={"properties": st.none() | st.dictionaries(TEXTS, JSON, max_size=4), "timestamp": TIMES},
)
BROKEN = st.sampled_from(
    [
        {},
        5,
        None,
        "text",
        {"event": "a"},
        {"event": 1, "distinct_id": "b"},
        {"event": "a", "distinct_id": "b", "timestamp": True},
        {"event": "a", "distinct_id": "b", "timestamp": "1999-12-31"},
        {"event": "a", "distinct_id": "b", "properties": []},
        {"event": "a\0", "distinct_id": "b"},
        {"event": "a", "distinct_id": "b" * 513},
        {"event": "a", "distinct_id": "b", "idempotency_key": "k" * 257},
    ]
)


def written(value: Any, ascii_only: bool, indent: int | None) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()


STYLES = st.tuples(st.booleans(), st.sampled_from([None, 0, 2]))


def plain(lines: list[EventLine]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in msgspec.json.Encoder().encode_lines(lines).splitlines()]


def future_warnings(intake: Intake) -> list[str]:
    return [warning for warning in intake.warnings if "1 h ahead" in warning]


@given(st.lists(EVENTS, max_size=5), BROKEN, STYLES)
def test_a_broken_event_changes_nothing_for_the_others(
    events: list[dict[str, Any]], broken: Any, style: tuple[bool, int | None]
) -> None:
    clean = take_batch(written({"events": events}, *style), PROJECT, NOW)
    second = take_batch(written({"events": [*events, broken]}, *style), PROJECT, NOW)
    assert clean.rejected == []
    assert [rejected.index for rejected in second.rejected] == [len(events)]
    assert (second.ids, plain(second.lines)) == (clean.ids, plain(clean.lines))
    assert future_warnings(second) == future_warnings(clean)


@given(st.lists(EVENTS, min_size=1, max_size=5), STYLES)
def test_all_ways_to_send_events_give_the_same_lines(
    events: list[dict[str, Any]], style: tuple[bool, int | None]
) -> None:
    of_batch = take_batch(written({"events": events}, *style), PROJECT, NOW)
    with_unknown = take_batch(written({"events": [{**e, "zz": [1]} for e in events]}, *style), PROJECT, NOW)
    of_array = take_track(written(events, *style), PROJECT, NOW, None)
    alone = [
        take_track(written(event, *style), PROJECT, NOW + timedelta(microseconds=i), "unused")
        for i, event in enumerate(events)
    ]
    assert plain(of_batch.lines) == plain(with_unknown.lines) == plain(of_array.lines)
    assert plain(of_batch.lines) == [line for intake in alone for line in plain(intake.lines)]


@given(st.lists(EVENTS, min_size=1, max_size=5), STYLES)
def test_a_line_carries_what_was_sent(events: list[dict[str, Any]], style: tuple[bool, int | None]) -> None:
    intake = take_batch(written({"events": events}, *style), PROJECT, NOW)
    envelope = pack(intake.ids, intake.lines)
    rows = envelope.lines.split(b"\n")
    assert rows.pop() == b""
    assert len(rows) == len(events)
    for event, event_id, text in zip(events, intake.ids, rows, strict=True):
        row = json.loads(text)
        for name in ("event", "distinct_id", "idempotency_key"):
            assert row[name] == event[name]
        assert row["properties"] == (event.get("properties") or {})
        assert row["event_id"] == event_id.hex()
        assert row["project_id"] == PROJECT
        assert datetime(2000, 1, 1, tzinfo=UTC) <= datetime.fromisoformat(row["timestamp"]) <= NOW.replace(hour=13)


ANY_BODY = st.one_of(
    st.binary(max_size=60),
    TEXTS.map(str.encode),
    st.tuples(JSON, STYLES).map(lambda pair: written(pair[0], *pair[1])),
    # Near misses: the right names with any values, and whole bodies cut or joined anywhere.
    st.tuples(
        st.dictionaries(
            st.sampled_from(
                [
                    "event",
                    "distinct_id",
                    "properties",
                    "timestamp",
                    "idempotency_key",
                    "events",
                    "traits",
                    "alias_for",
                    "user_id",
                    "old_id",
                    "new_id",
                    "group_type",
                    "group_key",
                ]
            ),
            JSON | EVENTS | st.lists(EVENTS | JSON, max_size=3),
        ),
        STYLES,
    ).map(lambda pair: written(pair[0], *pair[1])),
    st.tuples(EVENTS, st.integers(0, 80), st.binary(max_size=4)).map(
        lambda cut: written(cut[0], True, None)[: cut[1]] + cut[2]
    ),
)
ANY_CALL = st.sampled_from([take_track, take_batch, take_identify, take_alias, take_group])


@examples(250)
@given(ANY_BODY, ANY_CALL)
def test_any_body_is_taken_or_refused_with_a_reason(body: bytes, call: Any) -> None:
    try:
        intake: Intake | IdentityIntake = call(body, PROJECT, NOW, None)
    except ApiError as error:
        refused = error
    else:
        lines = intake.lines
        for text in msgspec.json.Encoder().encode_lines(lines).split(b"\n")[:-1]:
            assert json.loads(text)["project_id"] == PROJECT
        for rejected in intake.rejected if isinstance(intake, Intake) else []:
            assert rejected.dead_letter(PROJECT, NOW).encode()
        return
    assert 400 <= refused.code.status < 500
    assert refused.message
    assert refused.code is not ErrorCode.INTERNAL_ERROR


@given(JSON)
def test_levels_are_counted_as_a_parser_does(value: Any) -> None:
    def depth(item: Any) -> int:
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    # Many brackets, so that they are counted one by one; brackets in strings must not count.
    padded = [value, *[[]] * 40, "{[" * 20, '"\\', {'["': "]}"}]
    for ascii_only in (False, True):
        assert nesting_levels(written(padded, ascii_only, None)) == depth(padded)
