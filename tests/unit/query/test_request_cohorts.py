"""Cohorts that are taken, and those that are refused with the place that is at fault."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import MAX_COHORT_RULES, Cohort
from services.query.cohorts.request import parse_saved_cohort
from services.query.insights.cohort import CohortSpec
from services.query.insights.registry import asked, decode_query, parse_query, parse_saved_query
from services.query.request.cohorts import MAX_COHORT_DEPTH, Did, Every, Has, Not
from services.query.request.cursor import Position, write_cursor
from services.query.sql.cohorts import in_cohort
from services.query.sql.parameters import Parameters

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
DID = {"did": "a", **WINDOW}
# Ends with the last whole day until its end has come.
OPEN = {"since": "2026-01-01", "until": "2026-04-01", "whole_periods": True}


def parsed(cohort: Any, **more: Any) -> tuple[CohortSpec, list[str]]:
    query, warnings = parse_query("cohort", json.dumps({"cohort": cohort, **more}).encode(), "p")
    assert isinstance(query, CohortSpec)
    return query, warnings


def nested(levels: int) -> dict[str, Any]:
    return {"not": nested(levels - 1)} if levels > 1 else DID


@pytest.mark.parametrize(
    ("cohort", "code", "field"),
    [
        (None, ErrorCode.INVALID_FIELD, "cohort"),
        ([DID], ErrorCode.INVALID_FIELD, "cohort"),
        ({}, ErrorCode.INVALID_FIELD, "cohort"),
        ({**DID, "did_not": "b"}, ErrorCode.INVALID_FIELD, "cohort"),
        ({"and": []}, ErrorCode.INVALID_FIELD, "cohort.and"),
        ({"or": [DID] * (MAX_COHORT_RULES + 1)}, ErrorCode.INVALID_FIELD, "cohort.or"),
        ({"or": [{"and": [DID] * 11}] * 2}, ErrorCode.INVALID_FIELD, "cohort"),
        ({"and": [DID, {"not": {}}]}, ErrorCode.INVALID_FIELD, "cohort.and[1].not"),
        ({"and": [DID, {"not": {"did": 5}}]}, ErrorCode.INVALID_FIELD, "cohort.and[1].not.did"),
        (nested(MAX_COHORT_DEPTH + 1), ErrorCode.INVALID_FIELD, "cohort" + ".not" * MAX_COHORT_DEPTH),
        ({"did": "a"}, ErrorCode.MISSING_FIELD, "cohort.since"),
        ({"did_not": "a", "since": 0}, ErrorCode.MISSING_FIELD, "cohort.until"),
        ({**DID, "until": "2023-01-01"}, ErrorCode.INVALID_WINDOW, "cohort.until"),
        ({**DID, "until": "x"}, ErrorCode.INVALID_TIMESTAMP, "cohort.until"),
        ({**DID, "timezone": "Mars"}, ErrorCode.INVALID_TIMEZONE, "cohort.timezone"),
        ({**DID, "filter": {"a": {"like": 1}}}, ErrorCode.INVALID_FILTER, "cohort.filter.a"),
        ({**DID, "did": "a\0"}, ErrorCode.INVALID_FIELD, "cohort.did"),
        ({**DID, "did": ""}, ErrorCode.INVALID_FIELD, "cohort.did"),
        ({**DID, "at_least": 0}, ErrorCode.INVALID_FIELD, "cohort.at_least"),
        ({**DID, "exactly": -1}, ErrorCode.INVALID_FIELD, "cohort.exactly"),
        ({**DID, "at_least": 1, "at_most": 2}, ErrorCode.INVALID_FIELD, "cohort.at_most"),
        ({"did_not": "a", **WINDOW, "at_least": 1}, ErrorCode.INVALID_FIELD, "cohort.at_least"),
        ({"traits": {}}, ErrorCode.INVALID_FIELD, "cohort.traits"),
        ({"traits": {"plan": 1}}, ErrorCode.INVALID_FIELD, "cohort.traits"),
        ({"traits": {"person.plan": {"like": 1}}}, ErrorCode.INVALID_FILTER, "cohort.traits.person.plan"),
        ({"traits": {"person.plan": 1}, "since": 0}, ErrorCode.INVALID_FIELD, "cohort.since"),
        ({"and": [DID], "exactly": 1}, ErrorCode.INVALID_FIELD, "cohort.exactly"),
    ],
)
def test_refused(cohort: Any, code: ErrorCode, field: str) -> None:
    with pytest.raises(ApiError) as caught:
        parsed(cohort)
    assert (caught.value.code, caught.value.field) == (code, field)
    in_a_filter = json.dumps({**WINDOW, "start_event": "a", "cohort": cohort or 1}).encode()
    with pytest.raises(ApiError) as caught:
        parse_query("path", in_a_filter, "p")
    assert (caught.value.code, caught.value.field) == (code, field)


def test_what_is_said_of_all_others_is_the_opposite_of_a_leaf() -> None:
    for cohort in ({"did_not": "a", **WINDOW}, {**DID, "exactly": 0}, {**DID, "at_most": 0}):
        rule = parsed(cohort)[0].rule
        assert isinstance(rule, Not)
        assert rule.rule == parsed(DID)[0].rule
    at_most = parsed({**DID, "at_most": 2})[0].rule
    assert isinstance(at_most, Not)
    assert isinstance(at_most.rule, Did)
    assert (at_most.rule.times, at_most.rule.exactly) == (3, False)
    traits = parsed({"traits": {"person.a": 1, "group.b": {"ne": "x"}}})[0].rule
    assert isinstance(traits, Every)
    assert [type(part) for part in traits.rules] == [Has, Not]


MOST: list[dict[str, Any]] = [
    {"not": DID},
    {"or": [DID, {"did_not": "b", **WINDOW}]},
    {"and": [{"not": DID}, {"not": DID}]},
]
FEW: list[dict[str, Any]] = [DID, {"and": [DID, {"not": DID}]}, {"not": {"not": DID}}]


def test_a_cohort_of_most_people_is_a_filter_by_the_few_others() -> None:
    for cohort in MOST:
        assert " NOT IN (SELECT who" in in_cohort(parsed(cohort)[0].rule, Parameters())
    for cohort in FEW:
        assert " NOT IN (SELECT who" not in in_cohort(parsed(cohort)[0].rule, Parameters())


def test_unknown_fields_are_named_with_their_place() -> None:
    _, warnings = parsed({"and": [DID, {"not": {**DID, "colour": 1}}], "x": 2}, y=3)
    assert sorted(warnings) == [
        "unknown field `cohort.and[1].not.colour` ignored",
        "unknown field `cohort.x` ignored",
        "unknown field `y` ignored",
    ]


@pytest.mark.parametrize("wrapped", ['{"not": %s}', '{"and": [%s]}'])
def test_a_rule_is_too_deep_before_anything_walks_all_of_it(wrapped: str) -> None:
    for levels in (MAX_COHORT_DEPTH, 100, 340, 460):
        rule = json.dumps(DID)
        for _ in range(levels):
            rule = wrapped % rule
        for parse in (
            lambda rule: parse_query("cohort", f'{{"cohort": {rule}}}'.encode(), "p"),
            lambda rule: parse_saved_query(f'{{"type": "cohort", "cohort": {rule}}}'.encode(), "p"),
            lambda rule: parse_saved_cohort(f'{{"cohort": {rule}}}'.encode(), datetime.now(UTC)),
        ):
            with pytest.raises(ApiError) as caught:
                parse(rule)
            assert caught.value.code in (ErrorCode.INVALID_FIELD, ErrorCode.TOO_DEEP)


def test_a_mebibyte_of_rules_is_refused_soon() -> None:
    some = {"and": [{"and": [{"and": [{"did": "a"}] * 20}] * 20}] * 20}
    body = json.dumps({"cohort": {"or": [some] * 9}}, separators=(",", ":")).encode()
    began = time.process_time()
    with pytest.raises(ApiError):
        parse_query("cohort", body, "p")
    assert time.process_time() - began < 5  # with the fields looked up for each rule it took 30 s


def test_a_cursor_is_of_one_cohort() -> None:
    cursor = write_cursor(Position(0, bytes(16)), parsed(DID)[0].identity("p"))
    assert parsed(DID, cursor=cursor, limit=3)[0].after == Position(0, bytes(16))
    with pytest.raises(ApiError) as caught:
        parsed({**DID, "at_least": 2}, cursor=cursor)
    assert caught.value.code is ErrorCode.INVALID_CURSOR


@pytest.mark.parametrize("more", [{}, {"last": "30d", "filter": {"event": "a"}}, OPEN])
def test_a_walk_over_a_cohort_in_words_goes_on_when_the_hour_or_day_has_ended(more: dict[str, Any]) -> None:
    kind, now = "events" if more else "cohort", datetime(2026, 3, 18, 13, 59, tzinfo=UTC)
    rules: list[dict[str, Any]] = [
        {"did": "a", "last": "24h"},
        {"not": {"or": [{"did_not": "b", "this": "week", "whole_periods": True}]}},
        {"did": "c", **OPEN},
    ]

    def spec(cohort: Any, at: datetime, **cursor: str) -> Any:
        body = json.dumps({"cohort": cohort, **more, **cursor}).encode()
        return asked(kind, decode_query(kind, body)[0], "p", at).spec

    first = spec({"and": rules}, now)
    cursor = write_cursor(Position(0, bytes(16)), first.identity("p"))
    for later in (timedelta(minutes=2), timedelta(days=2)):
        following = spec({"and": rules}, now + later, cursor=cursor)
        assert following.after == Position(0, bytes(16))
        assert following != first
    changed: list[list[dict[str, Any]]] = [
        [{"last": "25h"}, {"exactly": 1}],
        [],
        [{"until": "2026-05-01"}, {"timezone": "Asia/Tokyo"}],
    ]
    others = [[*rules[:i], {**rules[i], **one}, *rules[i + 1 :]] for i, some in enumerate(changed) for one in some]
    for other in (*others, rules[:2]):
        with pytest.raises(ApiError) as caught:
            spec({"and": other}, now, cursor=cursor)
        assert caught.value.code is ErrorCode.INVALID_CURSOR
    if "until" in more:
        with pytest.raises(ApiError):
            spec({"and": rules}, now, cursor=cursor, until="2026-05-01")


def test_a_window_in_words_belongs_to_events() -> None:
    for word, value in (("last", "7d"), ("this", "day"), ("whole_periods", True)):
        with pytest.raises(ApiError) as caught:
            parsed({"or": [{"traits": {"person.plan": "pro"}, word: value}]})
        assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_FIELD, f"cohort.or[0].{word}")


@pytest.mark.parametrize("number", ["1e400", "-1e999", "9" * 5000])
@pytest.mark.parametrize(
    ("cohort", "field"),
    [
        ('{"did":"a","last":"1d","filter":{"x":%s}}', ".filter"),
        ('{"or":[{"traits":{"person.a":%s}}]}', ".or[0].traits"),
        ('{"and":[{"did":"a","last":"1d","at_least":%s}]}', ".and[0].at_least"),
        ('{"not":{"did":%s}}', ".not.did"),
        ("%s", ""),
        ('{"did":"a","last":"1d","colour":%s}', None),
    ],
)
def test_a_number_that_no_double_holds_is_told_by_its_field(cohort: str, field: str | None, number: str) -> None:
    """Also in a saved one. Unknown fields may hold anything."""
    body = f'{{"cohort":{cohort % number}}}'.encode()
    for parse in (lambda: parse_query("cohort", body, "p"), lambda: parse_saved_cohort(body, datetime.now(UTC))):
        if field is None:
            parse()
            continue
        with pytest.raises(ApiError) as caught:
            parse()
        assert caught.value.field == f"cohort{field}"


def test_the_schema_says_how_often_a_rule_may_ask_for() -> None:
    fields = msgspec.json.schema(Cohort)["$defs"]["Cohort"]["properties"]
    least = {name: fields[name]["anyOf"][0]["minimum"] for name in ("at_least", "at_most", "exactly")}
    assert least == {"at_least": 1, "at_most": 0, "exactly": 0}
