"""The address of a page holds the whole query: body -> address -> body is the same."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from services.console.queries.cohorts import read_cohort, write_cohort
from services.console.queries.edits import edited
from services.console.queries.errors import QueryError
from services.console.queries.kinds import KINDS
from services.console.queries.params import Params
from services.console.queries.places import place_of
from services.console.queries.titles import title_of
from services.console.queries.windows import (
    all_as_dated,
    as_answered,
    as_counted,
    dated,
    lasting,
    read_window,
    said_again,
    said_range,
    says_all_time,
    write_window,
)
from services.console.queries.words import in_words
from services.contract.api.queries import QUERY_KINDS


def params(address: str) -> Params:
    return Params(parse_qsl(address, keep_blank_values=True))


def text(body: dict[str, Any]) -> bytes:
    """Also told apart: 1, 1.0 and true."""
    return msgspec.json.encode(body, order="sorted")


@pytest.mark.parametrize(
    ("message", "code", "field", "said", "words"),
    [
        ("`return_event` is required.", "missing_field", "return_event", "", "Choose an event, or * for any."),
        ("`since` is required.", "missing_field", "since", "", "“From” needs a day, such as 2026-03-01."),
        (
            "`since`: `1 J` is not a date and time. Use",
            "invalid_timestamp",
            "since",
            "1 J",
            "“1 J” is no date. Write one such as 2026-03-01.",
        ),
        ("`since` must ...", "invalid_window", "until", "2024", "“Before” must be a later day than “From”."),
        (
            "cohort: `until`: `x` is not a date and time. Use",
            "invalid_timestamp",
            "cohort",
            "",
            "“Before”: “x” is no date. Write one such as 2026-03-01.",
        ),
        ("`cohort.since` is bad.", "invalid_timestamp", "cohort.since", "", "“From” is bad."),
        ("`timezone`: `x`", "invalid_timezone", "timezone", "x", None),
        ("`series[0].measure`: not `x`.", "invalid_field", "series[0].measure", "x", "Not “x”."),
        ("with `until` or `plan`", "invalid_field", "f.plan", "x", "With “Before” or “plan”"),
    ],
)
def test_errors_are_said_in_the_words_of_the_form(
    message: str, code: str, field: str, said: str, words: str | None
) -> None:
    found = in_words(message, code, field, said)
    assert "`" not in found
    assert found == words or (words is None and found.startswith("There is no time zone “x”."))


def test_all_time_stays_all_time() -> None:
    """In the address, in the body, and in what is kept: until something is counted in time buckets."""
    said = params("range=all&since=2020&interval=&f.0.value=all")
    body = read_window(said)
    assert says_all_time(body)
    assert write_window(body) == [("range", "all")]
    assert said_range(body) == "All time"
    days = {"since": "2024-01-04", "until": "2024-06-30"}
    assert dated(body, tuple(days.values())) == days  # type: ignore[arg-type]
    assert dated(body, ("2024-01-04", "2026-11-30"))["interval"] == "week"
    assert dated(body, ("2004-01-04", "2026-11-30"))["interval"] == "month"
    assert dated(body | {"interval": "day"}, ("2024-01-04", "2026-11-30"))["interval"] == "day"
    assert dated(body, None) == {"last": "30d"}
    for interval in (None, "hour", "day", "week", "month", "x"):
        kept = lasting(body, interval)
        assert says_all_time(kept)
        assert write_window(kept) == [("range", "all")]
        assert kept.get("interval") == interval
    broken_down = body | {"born_event": None, "breakdown": "plan"}
    assert [lasting(broken_down | top, "week")["last"] for top in ({}, {"top": 3}, {"top": 100})] == [
        "575w",
        "892w",
        "196w",
    ]
    assert says_all_time(lasting(broken_down, "month"))
    assert lasting({"last": "7d"}, "week") == {"last": "7d"}
    rule = read_cohort(params("c.0.kind=did&c.0.event=a&c.0.range=all"))
    assert rule is not None
    assert says_all_time(rule)
    assert ("c.0.range", "all") in write_cohort(rule)


def test_people_are_those_of_all_time_as_it_was() -> None:
    pairs = [("born", "a"), ("range", "custom"), ("since", "2024-01-04"), ("until", "2024-06-30")]
    assert all_as_dated(pairs) == [("born", "a"), ("range", "all:2024-01-04:2024-06-30")]
    assert read_window(Params(all_as_dated(pairs))) == {"since": "2024-01-04", "until": "2024-06-30"}
    assert said_again(all_as_dated(pairs)) == [("born", "a"), ("range", "all")]


def test_people_are_those_of_the_words_when_they_were_counted() -> None:
    pairs = [("born", "a"), ("range", "last:7d"), ("tz", "Asia/Tokyo"), ("whole", "1")]
    span = datetime(2026, 3, 1, 15, tzinfo=UTC), datetime(2026, 3, 8, 15, tzinfo=UTC)
    answered = as_answered(pairs, span)
    # A page that shows it again, and one that is asked for again, say words.
    assert read_window(Params(answered)) == {"last": "7d", "timezone": "Asia/Tokyo", "whole_periods": True}
    assert as_answered(answered, span) == answered
    assert said_again(answered) == pairs
    times = {"since": "2026-03-01T15:00:00Z", "until": "2026-03-08T15:00:00Z", "timezone": "Asia/Tokyo"}
    assert read_window(Params(as_counted(answered))) == times
    for other in (pairs, [("range", "all")], [("range", "custom"), ("since", "2026-03-01"), ("until", "2026-03-02")]):
        assert as_counted(other) == other


@pytest.mark.parametrize(
    ("name", "address", "title"),
    [
        ("retention", "born=buy&back=*&interval=week", "buy → any event, by week"),
        ("funnel", "s.0.event=a&s.1.event=b&s.1.event=c&breakdown=plan", "a → b or c, by plan"),
        ("trends", "s.0.event=a&s.1.event=b&s.1.measure=sum&s.1.property=price", "a, b (sum of price), by day"),
        ("path", "start=a&direction=before", "Before a"),
        ("cohort", "c.0.kind=saved&c.0.name=x", "Cohorts"),
    ],
)
def test_a_query_in_one_line(name: str, address: str, title: str) -> None:
    assert title_of(KINDS[name], KINDS[name].body(params(address))) == title


@pytest.mark.parametrize("row", QUERY_KINDS, ids=lambda row: row.name)
def test_examples_of_the_api_s_reference(row: Any) -> None:
    if row.name in KINDS:
        kind = KINDS[row.name]
        assert kind.body(kind.params(row.example)) == row.example


@pytest.mark.parametrize("row", QUERY_KINDS, ids=lambda row: row.name)
def test_a_builder_has_every_option_of_the_api(row: Any) -> None:
    if row.name not in KINDS:
        return
    fields = {field.encode_name for field in msgspec.structs.fields(row.body)} - {"cursor"}
    assert {field for part in KINDS[row.name].parts for field in part.fields} == fields


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("s.0.event=signup", {"series": [{"event": "signup"}]}),
        ("s.0.event=*&s.1.event=a&s.1.event=b&s.1.event=", {"series": [{"event": None}, {"event": ["a", "b"]}]}),
        ("s.0.event=1&s.0.measure=&s.1.event=", {"series": [{"event": "1"}]}),
        ("s.7.event=b&s.3.event=a", {"series": [{"event": "a"}, {"event": "b"}]}),
        ("range=last:7d&since=2026-01-01", {"last": "7d"}),
        ("range=custom&since=2026-01-01&until=2026-02-01", {"since": "2026-01-01", "until": "2026-02-01"}),
        ("since=2026-01-01", {"since": "2026-01-01"}),
        ("f.0.key=plan&f.0.value=pro", {"filter": {"plan": "pro"}}),
        (
            "f.0.key=n&f.0.op=gte&f.0.value=10&f.1.key=n&f.1.op=lt&f.1.value=20",
            {"filter": {"n": {"gte": 10, "lt": 20}}},
        ),
        ("f.0.key=n&f.0.op=in&f.0.value=1,+a,%22b,c%22", {"filter": {"n": [1, "a", '"b', 'c"']}}),
        ("f.0.key=n&f.0.op=in&f.0.value=[1,%22b,c%22]", {"filter": {"n": [1, "b,c"]}}),
        ("f.0.key=n&f.0.op=missing&f.0.value=x&f.1.key=&f.1.value=y", {"filter": {"n": {"exists": False}}}),
        ("top=ten", {"top": "ten"}),
        ("c.0.kind=did&c.0.event=a&c.0.n=3&c.0.range=last:7d", {"cohort": {"did": "a", "last": "7d", "at_least": 3}}),
        ("c.match=any&c.0.kind=saved&c.0.name=x", {"cohort": {"saved": "x"}}),
        ("c.json={%22saved%22:%22x%22}&c.0.kind=did", {"cohort": {"saved": "x"}}),
    ],
)
def test_what_a_form_says(address: str, body: dict[str, Any]) -> None:
    assert text(KINDS["trends"].body(params(address))) == text(body)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("f.0.key=plan&f.0.op=eq&f.0.value=", "f.0"),
        ("s.1.event=a&s.1.f.4.key=plan&s.1.f.4.op=in", "s.1.f.4"),
        ("f.0.key=a&f.0.value=1&f.3.key=a&f.3.value=2", "f.3"),
        ("c.2.kind=traits&c.2.f.0.key=person.a", "c.2.f.0"),
        ("c.json=[]", "c.json"),
        ("c.json=%7B", "c.json"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(address: str, place: str) -> None:
    with pytest.raises(QueryError) as raised:
        KINDS["trends"].body(params(address))
    assert raised.value.place == place


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("series", "s"),
        ("series[1].event", "s.1.event"),
        ("series[1].filter.plan", "s.1.f.1"),
        ("series[1].filter", "s.1.f"),
        ("filter.a.b", "f.0"),
        ("filter.nothing", "f"),
        ("last", "range"),
        ("timezone", "tz"),
        ("aggregate_by", "by"),
        ("cohort.and[1].did", "c.1"),
        ("cohort.and[0].not.traits.person.x", "c.0.f.0"),
        ("cohort", "c.0"),
        ("query.series[0].measure", "s.0.measure"),
        ("cell.bucket", None),
        ("", None),
    ],
)
def test_an_error_of_the_api_stands_at_its_field(field: str, place: str | None) -> None:
    body = {
        "series": [{"event": "a"}, {"event": "b", "filter": {"n": 1, "plan": "pro"}}],
        "filter": {"a.b": 1},
        "cohort": {"and": [{"not": {"traits": {"person.x": 1}}}, {"did": "b", "last": "7d"}]},
    }
    kind = KINDS["trends"]
    assert place_of(kind, kind.params(body), field) == place


@pytest.mark.parametrize(
    ("address", "after"),
    [
        ("do=add:f", "f.0.new=1"),
        ("s.0.event=a&do=add:s", "s.0.event=a&s.1.new=1"),
        ("s.0.event=a&s.0.f.2.key=x&do=add:s.0.f", "s.0.event=a&s.0.f.2.key=x&s.0.f.3.new=1"),
        ("s.0.event=a&do=add:s.0.event", "s.0.event=a&s.0.event="),
        ("s.0.event=a&s.1.event=b&do=remove:s.0", "s.1.event=b"),
        ("s.0.event=a&s.0.event=b&do=remove:s.0.event.0", "s.0.event=b"),
        ("s.0.event=a&s.2.event=b&s.2.f.0.key=k&do=up:s.2", "s.2.event=a&s.0.event=b&s.0.f.0.key=k"),
        ("s.0.event=a&do=up:s.0", "s.0.event=a"),
        ("s.0.event=a&do=nonsense", "s.0.event=a"),
        ("s.0.event=a&do=up:s.x", "s.0.event=a"),
    ],
)
def test_buttons_of_a_form_without_script(address: str, after: str) -> None:
    assert edited(params(address)).query().replace("%3A", ":") == after
