"""Bodies that no funnel and no trend can be made of: each names the field and what was expected."""

import json
from typing import Any

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.query.insights.funnel import MAX_STEPS_ALIKE, FunnelSpec, alike
from services.query.insights.registry import parse_query, parse_saved_query
from services.query.insights.trends import TrendsSpec

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
STEPS = [{"event": "a"}, {"event": "b"}]
GOOD: dict[str, dict[str, Any]] = {
    "funnel": {**WINDOW, "steps": STEPS},
    "trends": {**WINDOW, "series": [{"event": "a"}]},
}
TRAITS = {f"person.t{i}": 1 for i in range(6)}
INVALID, FILTER = ErrorCode.INVALID_FIELD, ErrorCode.INVALID_FILTER


def series(**change: Any) -> dict[str, Any]:
    return {"series": [{"event": "a"}, {"event": "a", **change}]}


BAD: list[tuple[str, dict[str, Any], ErrorCode, str]] = [
    ("funnel", {"steps": STEPS[:1]}, INVALID, "steps"),
    ("funnel", {"steps": STEPS * 11}, INVALID, "steps"),
    ("funnel", {"steps": ["a", "b"]}, INVALID, "steps[0]"),
    ("funnel", {"steps": [*STEPS, {}]}, ErrorCode.MISSING_FIELD, "steps[2].event"),
    ("funnel", {"steps": [*STEPS, {"event": ""}]}, INVALID, "steps[2].event"),
    ("funnel", {"steps": [*STEPS, {"event": []}]}, INVALID, "steps[2].event"),
    ("funnel", {"steps": [*STEPS, {"event": ["a", "\0"]}]}, INVALID, "steps[2].event"),
    ("funnel", {"steps": [*STEPS, {"event": ["a"] * 101}]}, INVALID, "steps[2].event"),
    ("funnel", {"order": "any", "steps": [{"event": None}, *STEPS * 2]}, INVALID, "steps"),
    ("funnel", {"steps": [*STEPS, {"event": "\0"}]}, INVALID, "steps[2].event"),
    ("funnel", {"steps": [*STEPS, {"event": "c", "filter": {"x": {"like": 1}}}]}, FILTER, "steps[2].filter.x"),
    ("funnel", {"steps": [{"event": "a", "filter": TRAITS}] * 2}, FILTER, "steps"),
    ("funnel", {"filter": {"x": {"like": 1}}}, FILTER, "filter.x"),
    ("funnel", {"order": "random"}, INVALID, "order"),
    ("funnel", {"order": "any", "steps": STEPS[:1] * (MAX_STEPS_ALIKE + 1)}, INVALID, "steps"),
    ("funnel", {"conversion_window_seconds": 0}, INVALID, "conversion_window_seconds"),
    ("funnel", {"conversion_window_seconds": 367 * 86_400}, INVALID, "conversion_window_seconds"),
    ("funnel", {"people_of_step": 0}, INVALID, "people_of_step"),
    ("funnel", {"people_of_step": 3}, INVALID, "people_of_step"),
    ("trends", {"series": []}, INVALID, "series"),
    ("trends", {"series": [{"event": "a"}] * 11}, INVALID, "series"),
    ("trends", {"series": [{}]}, ErrorCode.MISSING_FIELD, "series[0].event"),
    ("trends", series(measure="most"), INVALID, "series[1].measure"),
    ("trends", series(measure="sum"), INVALID, "series[1].property"),
    ("trends", series(property="x"), INVALID, "series[1].property"),
    ("trends", series(measure="sum", property=""), INVALID, "series[1].property"),
    ("trends", series(measure="sum", property="\0"), INVALID, "series[1].property"),
    ("trends", series(measure="sum", property=".".join("x" * 18)), INVALID, "series[1].property"),
    ("trends", series(measure="sum", property="x", percentile=50), INVALID, "series[1].percentile"),
    ("trends", series(measure="percentile", property="x", percentile=101), INVALID, "series[1].percentile"),
    ("trends", series(filter={"x": {}}), FILTER, "series[1].filter.x"),
    ("trends", {"interval": "year"}, INVALID, "interval"),
    ("trends", {"interval": "hour", "since": 0}, ErrorCode.QUERY_TOO_EXPENSIVE, "interval"),
    ("trends", {"week_start": "friday"}, INVALID, "week_start"),
]
# What both take.
BOTH: list[tuple[dict[str, Any], ErrorCode, str]] = [
    ({"until": "2023-01-01"}, ErrorCode.INVALID_WINDOW, "until"),
    ({"timezone": "Berlin"}, ErrorCode.INVALID_TIMEZONE, "timezone"),
    ({"breakdown": ""}, INVALID, "breakdown"),
    ({"breakdown": "\0"}, INVALID, "breakdown"),
    ({"breakdown": "person_id"}, INVALID, "breakdown"),
    ({"breakdown": "person.plan"}, INVALID, "breakdown"),
    ({"breakdown": ".".join("x" * 18)}, INVALID, "breakdown"),
    ({"top": 0}, INVALID, "top"),
    ({"top": 101}, INVALID, "top"),
]
BAD += [(kind, *bad) for kind in GOOD for bad in BOTH]


def parse(kind: str, change: dict[str, Any]) -> tuple[Any, list[str]]:
    return parse_query(kind, json.dumps({**GOOD[kind], **change}).encode(), "p")


@pytest.mark.parametrize(("kind", "change", "code", "field"), BAD)
def test_bad_field(kind: str, change: dict[str, Any], code: ErrorCode, field: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse(kind, change)
    assert (caught.value.code, caught.value.field) == (code, field)
    named = "filter.x" if field.endswith("filter.x") else field
    assert f"`{named}`" in caught.value.message or code is ErrorCode.QUERY_TOO_EXPENSIVE
    with pytest.raises(ApiError) as caught:
        parse_saved_query(json.dumps({"type": kind, **GOOD[kind], **change}).encode(), "p")
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("kind", GOOD)
def test_null_is_absent(kind: str) -> None:
    options = ["timezone", "filter", "cohort", "aggregate_by", "breakdown", "top", "order", "people_of_step"]
    options += ["conversion_window_seconds", "interval", "week_start"]
    query, _ = parse(kind, dict.fromkeys(options))
    assert query == parse(kind, {})[0]


def test_what_is_taken_when_nothing_is_said() -> None:
    funnel, _ = parse("funnel", {})
    assert isinstance(funnel, FunnelSpec)
    assert (funnel.order, funnel.conversion_s, funnel.breakdown, funnel.people_of_step) == ("ordered", None, None, None)
    trends, _ = parse("trends", {"breakdown": "plan"})
    assert isinstance(trends, TrendsSpec)
    assert (trends.interval, trends.series[0].measure, len(trends.starts)) == ("day", "count", 31)
    assert trends.breakdown is not None
    assert trends.breakdown.top == 10


def test_unknown_fields_inside_are_named() -> None:
    steps = [{**STEPS[0], "colour": 1}, {**STEPS[1], "Filter": {}}]
    assert parse("funnel", {"steps": steps, "serie": []})[1] == [
        "unknown field `serie` ignored",
        "steps[0]: unknown field `colour` ignored",
        "steps[1]: unknown field `Filter` ignored",
    ]
    assert parse("trends", series(colour=1))[1] == ["series[1]: unknown field `colour` ignored"]


def test_a_thousand_unknown_fields_are_not_all_named() -> None:
    steps = [{**step, **{f"x{i}": i for i in range(1000)}} for step in STEPS]
    assert len(parse("funnel", {"steps": steps})[1]) == 20


def test_steps_that_one_event_can_be_are_of_one_group() -> None:
    """Whatever leads from one to the other: an event of both names may be wanted by all of them."""
    for names, groups in (
        (["a", "b", "a"], [[1, 3], [2]]),
        (["a", "b", ["a", "b"], "c"], [[1, 2, 3], [4]]),
        (["a", None, "b"], [[1, 2, 3]]),
        ([["a", "b"], ["c", "d"], ["d", "a"], "e"], [[1, 2, 3], [4]]),
    ):
        steps = [{"event": name} for name in names]
        query, _ = parse_query("funnel", json.dumps({**WINDOW, "steps": steps}).encode(), "p")
        assert alike(query.steps) == groups
