"""What a figure of an answer says, by small histories: who is counted when, which values are largest, how exact it is."""

import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.contract.tables import EVENTS, IDENTITY_LOG
from services.edge.intake.identity import take_identify
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import insert_lines
from tests.support.histories import event_line, store
from tests.support.oracle import Event, History
from tests.support.oracle_people import Call, PeopleHistory
from tests.support.people import store_people
from tests.support.query_client import QueryClient

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = {"since": "2026-03-02", "until": "2026-03-09"}


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=150) as client:
        yield client


def event(name: str, who: str, after: timedelta, properties: str = "{}") -> Event:
    return Event(str(uuid.uuid4()), name, who, START + after, properties)


class Project:
    """One of its own, with events."""

    def __init__(self, client: QueryClient, clickhouse: ClickHouseSettings, *events: Event) -> None:
        self._client = client
        self.name, self._key = next(client.projects)
        store(clickhouse, {self.name: History(events)})

    def ask(self, kind: str, **body: Any) -> Any:
        return self._client.ask(f"/query/{kind}", self._key, {**WEEK, **body})

    def refused(self, kind: str, **body: Any) -> Any:
        response = self._client.post(f"/query/{kind}", self._key, {**WEEK, **body})
        assert response.status_code == 400, response.text
        return response.json()["error"]

    def measured(self, measure: str, name: str = "n", **body: Any) -> Any:
        """Over the whole week; by value with a breakdown."""
        series = [{"event": "e", "measure": measure, "property": name}]
        (answered,) = self.ask("trends", interval="week", series=series, **body)["series"]
        return {line.get("value", line["kind"]): line["values"][0] for line in answered["lines"]}


def with_numbers(client: QueryClient, clickhouse: ClickHouseSettings, numbers: Sequence[str]) -> Project:
    """One event for each text of a number `n`, in blocks that the store keeps apart."""
    events = [event("e", "u", timedelta(seconds=i), f'{{"n":{number}}}') for i, number in enumerate(numbers)]
    return Project(client, clickhouse, *events)


# Funnel.


@pytest.mark.parametrize("order", ["ordered", "strict", "any"])
@pytest.mark.parametrize(
    ("start", "wait", "within", "expected"),
    [
        (6.9, 1.5, 14, 1),  # the last evening, and 36 hours later
        (6.9, 1.5, 1, 0),
        (6.9, 1.5, None, 0),
        (7.1, 0.1, 14, 0),  # the start is outside itself
        (3, 2, None, 1),
    ],
)
def test_a_conversion_counts_until_its_own_window_ends(
    client: QueryClient,
    clickhouse: ClickHouseSettings,
    order: str,
    start: float,
    wait: float,
    within: int | None,
    expected: int,
) -> None:
    project = Project(client, clickhouse, event("a", "u", start * DAY), event("b", "u", (start + wait) * DAY))
    seconds = None if within is None else within * 86_400
    options = {"order": order, "conversion_window_seconds": seconds, "people_of_step": 2}
    answer = project.ask("funnel", steps=[{"event": "a"}, {"event": "b"}], **options)
    assert answer["steps"][1]["people"] == expected
    assert answer["listed"]["people"] == ["u"] * expected


@pytest.mark.parametrize("order", ["ordered", "any"])
def test_the_same_event_after_the_window_is_a_further_step_and_no_start(
    client: QueryClient, clickhouse: ClickHouseSettings, order: str
) -> None:
    project = Project(
        client, clickhouse, *(event("a", who, after * DAY) for who, after in [("u", 6), ("u", 8), ("v", 8), ("v", 9)])
    )
    options = {"order": order, "conversion_window_seconds": 5 * 86_400, "breakdown": "n"}
    answer = project.ask("funnel", steps=[{"event": "a"}, {"event": "a"}], **options)
    assert [step["people"] for step in answer["steps"]] == [1, 1]
    assert [line["steps"][1]["people"] for line in answer["breakdown"]] == [1]


# Time buckets under way.


@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
def test_buckets_that_have_not_ended_are_not_complete(
    client: QueryClient, clickhouse: ClickHouseSettings, interval: str
) -> None:
    project = Project(client, clickhouse)
    now = datetime.now(UTC)
    window = {"since": (now - timedelta(hours=72)).isoformat(), "until": (now + timedelta(hours=72)).isoformat()}
    for kind, body in (
        ("trends", {"series": [{"event": "e"}]}),
        ("retention", {"born_event": "e", "return_event": "e"}),
    ):
        answer = project.ask(kind, interval=interval, **window, **body)
        starts = [datetime.fromisoformat(start) for start in answer["periods"]]
        complete = answer["complete"]
        assert len(complete) == len(starts)
        # A bucket has ended when the next one has begun; the last one ends after `until`, which is ahead.
        assert complete == [start <= now for start in starts[1:]] + [False]
        assert project.ask(kind, interval=interval, **body)["complete"].count(False) == 0


# Retention.


def test_born_and_return_have_filters_of_their_own(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project = Project(
        client,
        clickhouse,
        event("signup", "u", 0 * DAY, '{"plan":"pro"}'),
        event("signup", "v", 0 * DAY, '{"plan":"free"}'),
        event("login", "u", 1 * DAY, '{"from":"app"}'),
        event("login", "v", 1 * DAY, '{"from":"app"}'),
        event("login", "u", 2 * DAY),
    )
    body = {"born_event": "signup", "return_event": "login", "until": "2026-03-05"}

    def first_row(**filters: Any) -> Any:
        return project.ask("retention", **{**body, **filters})["matrix"][0]

    assert first_row() == [2, 2, 1]
    assert first_row(filter={"plan": "pro"}) == [1, 0, 0]
    assert first_row(born_filter={"plan": "pro"}) == [1, 1, 1]
    assert first_row(born_filter={"plan": "pro"}, return_filter={"from": "app"}) == [1, 1, 0]
    assert first_row(return_filter={"from": {"exists": False}}) == [2, 0, 1]
    assert first_row(born_filter={"plan": "none"}) == [0, 0, 0]
    error = project.refused("retention", **body, born_filter={"plan": {"like": "p"}})
    assert (error["code"], error["field"]) == ("invalid_filter", "born_filter.plan")
    assert "`born_filter.plan`" in error["message"]


def test_born_and_return_may_be_the_same_event_with_other_filters(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    days = [("trial", 0), ("paid", 1), ("trial", 2)]
    project = Project(
        client, clickhouse, *(event("order", "u", n * DAY, json.dumps({"kind": kind})) for kind, n in days)
    )
    body = {"born_event": "order", "return_event": "order", "until": "2026-03-05"}
    answer = project.ask("retention", **body, born_filter={"kind": "trial"}, return_filter={"kind": "paid"})
    assert answer["matrix"] == [[1, 1, 0], [0, 0], [0]]
    answer = project.ask("retention", **body, born_filter={"kind": "paid"}, first_time=True, breakdown="kind")
    assert answer["matrix"] == [[0, 0, 0], [1, 1], [0]]
    assert [line["value"] for line in answer["breakdown"]] == ["paid"]


# The top of a breakdown.


@pytest.mark.parametrize(
    ("measure", "first"),
    [
        ("sum", "CH"),
        ("avg", "CH"),
        ("max", "CH"),
        ("min", "DE"),
        ("percentile", "DE"),
        ("count", "US"),
        ("people", "FR"),
    ],
)
def test_the_top_values_are_those_with_the_largest_measure(
    client: QueryClient, clickhouse: ClickHouseSettings, measure: str, first: str
) -> None:
    orders = [("US", 1)] * 5 + [("CH", 100_000), ("CH", 2), ("CH", 3)] + [("DE", 7)] + [("FR", 1), ("FR", 1)]
    project = Project(
        client,
        clickhouse,
        *(
            event("e", f"u{i}" if country == "FR" else "u", i * timedelta(hours=9), json.dumps({"n": n, "c": country}))
            for i, (country, n) in enumerate(orders)
        ),
    )
    body = {"breakdown": "c", "top": 1}
    series = [{"event": "e", "measure": measure} | ({} if measure in ("count", "people") else {"property": "n"})]
    # By day, so that a value's numbers come from many time buckets.
    (answered,) = project.ask("trends", interval="day", series=series, **body)["series"]
    assert [line.get("value", line["kind"]) for line in answered["lines"]] == [first, "other"]


def test_of_sums_that_no_double_tells_apart_the_larger_comes_first(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    texts = ['{"c":"a","n":9007199254740992}', '{"c":"b","n":9007199254740992}', '{"c":"b","n":1}']
    project = Project(client, clickhouse, *(event("e", "u", timedelta(hours=i), text) for i, text in enumerate(texts)))
    assert list(project.measured("sum", breakdown="c").items()) == [("b", 2**53 + 1), ("a", 2**53)]


def test_values_without_a_number_come_last(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    texts = ['{"c":"none"}'] * 9 + ['{"c":"less","n":-5}', '{"c":"more","n":-2}']
    project = Project(client, clickhouse, *(event("e", "u", timedelta(hours=i), text) for i, text in enumerate(texts)))
    for measure in ("avg", "min", "max", "percentile"):
        assert list(project.measured(measure, breakdown="c").items()) == [("more", -2), ("less", -5), ("none", None)]


# Numbers.


@pytest.mark.parametrize(
    ("numbers", "measure", "expected"),
    [
        (["9007199254740993", "9007199254740992"], "max", 9007199254740993),
        (["9007199254740993", "9007199254740994"], "min", 9007199254740993),
        (["-9007199254740993", "5"], "min", -9007199254740993),
        (["18446744073709551617", "18446744073709551616"], "max", 18446744073709551617),
        (["-18446744073709551617", "-18446744073709551616"], "min", -18446744073709551617),
        (["0.5", "-0.25"], "min", -0.25),
        (["0.1"] * 1000, "sum", 100),
        (["0.1"] * 1000, "avg", 0.1),
        (["0.1", "0.2"], "sum", 0.3),
        (["19.99"] * 3, "sum", 59.97),
        (["0.1", "0.2", "-0.3"], "sum", 0),
        (["1000000.1", "-1000000"], "sum", 0.1),
        (["1", "0", "0"], "avg", 1 / 3),
        (["9007199254740991"], "sum", 9007199254740991),
        (["9007199254740992", "1"], "sum", 9007199254740993),
        (["-9007199254740993"], "sum", -9007199254740993),
        (["9007199254740993"] * 3, "avg", 9007199254740993),
        (["9223372036854775807", "18446744073709551615", "2"], "sum", 27670116110564327424),
        (["1795178096123456789", "1795178096123456788"], "avg", 1795178096123456788.5),
        (["10000000000000000", "1", "-10000000000000000"], "sum", 1),
        (["9007199254740992", "0.5", "0.5"], "sum", 9007199254740993),
        (["1000000000000000", "0.1", "-1000000000000000"], "sum", 0.1),
        (["1000000000000000", "0.3", "-1000000000000000"], "avg", 0.1),
        (["9007199254740993", "0.5"], "sum", 9007199254740994.0),
        (["1e300", "1", "-1e300"], "sum", 1),
        (["12345678901234.56", "1", "0.01"], "sum", 12345678901235.57),
        (["9" * 60, "1"], "sum", 1e60),
        (["1e308", "1e308"], "sum", None),
        (["5e-324", "5e-324"], "sum", 1e-323),
        (["1e-7", "2e-7"], "sum", 3e-7),
        (["1", '"2"', "true", "null"], "sum", 1),
        (["18446744073709551616"], "sum", 18446744073709551616.0),
        (["-0.0", "0"], "max", 0),
        (["-0.0", "-0.0"], "sum", 0),
    ],
)
def test_numbers_are_as_exact_as_they_were_sent(
    client: QueryClient, clickhouse: ClickHouseSettings, numbers: list[str], measure: str, expected: float | None
) -> None:
    (found,) = with_numbers(client, clickhouse, numbers).measured(measure).values()
    assert found == expected
    assert found != 0 or not str(found).startswith("-")


def test_zero_and_minus_zero_are_one_value(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project = with_numbers(client, clickhouse, ["0", "-0.0", "-0", "0.0", "0e5", "-0e-3"])
    assert project.measured("sum", breakdown="n") == {0: 0}
    for value in (0, 0.0, -0.0):
        assert len(project.ask("events", filter={"n": value})["events"]) == 6
    for operator, found in (("gte", 6), ("lte", 6), ("gt", 0), ("lt", 0), ("ne", 0)):
        assert len(project.ask("events", filter={"n": {operator: -0.0}})["events"]) == found
    array = with_numbers(client, clickhouse, ["[-0.0]", "[0]"])
    assert len(array.ask("events", filter={"n": {"contains": 0}})["events"]) == 2


def test_integers_of_any_size_are_equal_by_their_digits(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    large = [10**20, 10**20 + 1, -(10**20), 2**64, 2**64 + 1, 10**300 + 7]
    project = with_numbers(client, clickhouse, [*map(str, large), f'"{2**64}"', f"[{2**64 + 1}]"])
    for number in large:
        (found,) = project.ask("events", filter={"n": number})["events"]
        assert found["properties"]["n"] == number
        assert len(project.ask("events", filter={"n": {"ne": number}})["events"]) == 7
    assert len(project.ask("events", filter={"n": large[:3]})["events"]) == 3
    assert len(project.ask("events", filter={"n": str(2**64)})["events"]) == 1
    assert len(project.ask("events", filter={"n": {"contains": 2**64 + 1}})["events"]) == 1
    assert len(project.ask("events", filter={"n": {"gt": 10**19}})["events"]) == 5


@pytest.mark.parametrize("other", ["0e400", "0.1e309", "[-0E+999]", "1.7976931348623158e308", "1" * 309, "0.0e0400"])
def test_a_number_that_is_hard_to_read_does_not_harm_others(
    client: QueryClient, clickhouse: ClickHouseSettings, other: str
) -> None:
    number = 10**50 + 1
    texts = [f'{{"n":{number},"o":{other}}}', f'{{"o": {other}, "n":"{number}"}}', f'{{"n":[{number}],"o":{other}}}']
    project = Project(client, clickhouse, *(event("e", "u", timedelta(hours=i), text) for i, text in enumerate(texts)))
    for value in (number, str(number), {"contains": number}, {"gt": 1}):
        assert len(project.ask("events", filter={"n": value})["events"]) == 1, value
    assert project.measured("max") == {"all": float(number)}
    series = [{"event": "e", "measure": "sum", "property": "n"}]
    assert len(project.ask("trends", series=series, breakdown="n")["series"][0]["lines"]) == 3


def test_doubles_are_found_as_they_were_sent(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    doubles = ["2.095124104687433e+16", "1e17", "18446744073709551616.5", "1e21", "1.7e308", "-3e16", "123456789.5e9"]
    project = with_numbers(client, clickhouse, [*doubles, "[2.095124104687433e16]"])
    for text in doubles:
        (found,) = project.ask("events", filter={"n": float(text)})["events"]
        assert found["properties"]["n"] == float(text)
    assert len(project.ask("events", filter={"n": {"contains": 2.095124104687433e16}})["events"]) == 1
    project = with_numbers(client, clickhouse, [f"[-{2**63}.0]", f"[{2**64}.0]", f"[-{2**63 + 1}]"])
    for member, found in ((-(2**63), 1), (-(2.0**63), 2), (2.0**64, 1), (-(2**63) - 1, 2)):
        assert len(project.ask("events", filter={"n": {"contains": member}})["events"]) == found, member


@pytest.mark.parametrize("number", ["1e20", "100000000000000000000.0", "12345678901234567890.5", "9007199254740992.0"])
def test_a_double_is_neither_less_nor_more_than_itself(
    client: QueryClient, clickhouse: ClickHouseSettings, number: str
) -> None:
    digits = f"{float(number):.0f}"
    project = with_numbers(client, clickhouse, [number, digits, "1", "1e300", '"1e20"'])
    for operator, found in (("eq", 2), ("gte", 3), ("lte", 3), ("gt", 1), ("lt", 1)):
        assert len(project.ask("events", filter={"n": {operator: float(number)}})["events"]) == found, operator


def test_a_double_and_its_digits_are_one_line(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    large = ["1e20", "1E+20", str(10**20), f"-{2**63 + 1}", str(2**64), f'"{10**20}"']
    longer = ["1e21", str(10**21), "1" * 30, "-2.5e22", f"-25{'0' * 21}", f"1{'0' * 308}", "1e308"]
    project = with_numbers(client, clickhouse, [*large, *longer])
    query: dict[str, Any] = {"series": [{"event": "e"}], "breakdown": "n"}
    (answered,) = project.ask("trends", **query)["series"]
    lines = [(line["value"], sum(line["values"])) for line in answered["lines"]]
    assert lines[0] == (10**20, 3)
    assert sorted(lines[1:4], key=str) == [(-2.5e22, 2), (1e21, 2), (1e308, 2)]
    alone = [(-(2**63) - 1, 1), (2**64, 1), (str(10**20), 1), (int("1" * 30), 1)]
    assert sorted(lines[4:], key=str) == sorted(alone, key=str)
    for value, events in lines:
        people = {"query": {"type": "trends", **WEEK, **query}, "cell": {"line": {"kind": "value", "value": value}}}
        assert project.ask("people", **people)["count"] == 1, value
        assert len(project.ask("events", filter={"n": value})["events"]) == events


# Arrays and objects that are one value, in lines; and those whose text may stand for another value.
_ONE_LINE = {
    "[0]": ["[0]", "[0.0]", "[-0.0]", "[ -0 ]"],
    "[1]": ["[1]", "[1.0]"],
    '{"a":[0,{"b":0}]}': ['{"a":[-0.0,{"b":-0}]}', '{"a":[0,{"b":0}]}'],
    "[-0.5,1e-7]": ["[-0.5,1e-7]"],
    '["-0","a,-0,",{"-0":0}]': ['["-0","a,-0,",{"-0":-0.0}]'],
    '{"a":1}': ['{"a":1}'],
    '[{"a":1},{"a":1,"b":{"a":1}}]': ['[{"a":1},{"a":1,"b":{"a":1}}]'],
    '["x",":","y",":"]': ['["x",":","y",":"]'],
    '["00000000000000000001"]': ['["00000000000000000001"]'],
}
_NO_LINE = [
    f"[{2**64}]",
    f'["{2**64}"]',
    f"[{2**64 + 1}]",
    "[1e20]",
    f"[{10**20}]",
    f'{{"a":[-{2**63 + 1}]}}',
]


def test_an_array_or_object_has_a_line_of_its_own_where_its_text_is_that_of_no_other(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    texts = [*(text for alike in _ONE_LINE.values() for text in alike), *_NO_LINE]
    events = [event("e", f"u{i}", timedelta(seconds=i), f'{{"n":{text}}}') for i, text in enumerate(texts)]
    project = Project(client, clickhouse, *events)
    series: dict[str, Any] = {"series": [{"event": "e"}]}
    steps: dict[str, Any] = {"steps": [{"event": "e"}, {"event": "f"}]}
    born: dict[str, Any] = {"born_event": "e", "return_event": "f", "interval": "week"}
    for kind, body in (("trends", series), ("funnel", steps), ("retention", born)):
        query = {**body, "breakdown": "n", "top": 50}
        answer = project.ask(kind, **query)
        found = {}
        for line in answer["series"][0]["lines"] if kind == "trends" else answer["breakdown"]:
            number = {
                "trends": lambda one: sum(one["values"]),
                "funnel": lambda one: one["steps"][0]["people"],
                "retention": lambda one: one["matrix"][0][0],
            }[kind](line)
            found[json.dumps(line.get("value", line["kind"]))] = number
            cell = {"line": {name: line[name] for name in ("kind", "value") if name in line}}
            behind = project.ask("people", query={"type": kind, **WEEK, **query}, cell=cell)
            assert behind["count"] == number, (kind, line)
        expected = {json.dumps(json.loads(text)): len(alike) for text, alike in _ONE_LINE.items()}
        assert found == {**expected, '"other"': len(_NO_LINE)}, kind


@pytest.mark.parametrize("measure", ["count", "people"])
def test_a_bucket_without_events_has_a_whole_number_as_others_have(
    client: QueryClient, clickhouse: ClickHouseSettings, measure: str
) -> None:
    project = Project(client, clickhouse, event("e", "u", timedelta(0)))
    (answered,) = project.ask("trends", series=[{"event": "e", "measure": measure}])["series"]
    assert json.dumps(answered["lines"][0]["values"]) == "[1, 0, 0, 0, 0, 0, 0]"


# Paths.


def test_who_goes_on_beyond_the_depth_continues(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    walks = {"u": "sab", "v": "sab", "w": "sa", "x": "s", "y": "scc"}
    project = Project(
        client,
        clickhouse,
        *(event(name, who, timedelta(hours=i)) for who, walk in walks.items() for i, name in enumerate(walk)),
    )

    def nodes(**options: Any) -> dict[str, tuple[int, int, int]]:
        tree = project.ask("path", start_event="s", **options)
        rows = [tree | {"event": tree["root"]}, *tree["children"]]
        return {node["event"]: (node["count"], node["drop_off"], node["continued"]) for node in rows}

    assert nodes(max_depth=1) == {"s": (5, 1, 0), "a": (3, 1, 2), "c": (1, 0, 1)}
    assert nodes(max_depth=2) == {"s": (5, 1, 0), "a": (3, 1, 0), "c": (1, 0, 0)}
    # What is skipped, or comes after the end of a path, is nothing to go on to.
    assert nodes(max_depth=1, collapse_repeats=True)["c"] == (1, 1, 0)
    assert nodes(max_depth=1, end_event="a")["a"] == (3, 3, 0)
    assert nodes(max_depth=1, end_event="b")["a"] == (3, 1, 2)
    assert nodes(max_depth=1, session_gap_seconds=60) == {"s": (5, 5, 0)}


# The event's own fields in filters.


def test_fields_are_found_as_answers_show_them(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    one = event("e", "u", timedelta(microseconds=1), '{"timestamp":"mine","event_id":5,"properties":{"a":1}}')
    project = Project(client, clickhouse, one, event("e", "v", 1 * DAY))

    def found(**conditions: Any) -> list[str]:
        events = project.ask("events", filter=conditions)["events"]
        return [event["distinct_id"] for event in events]

    (shown,) = project.ask("events", filter={"distinct_id": "u"})["events"]
    for key in ("event_id", "timestamp", "received_at"):
        assert found(**{key: shown[key]}) == ["u"], key
        assert found(**{key: [shown[key]]}) == ["u"], key
        assert found(**{key: {"ne": shown[key]}}) == ["v"], key
        assert found(**{key: {"exists": True}}) == ["u", "v"], key
        assert found(**{key: {"exists": False}}) == [], key
    assert found(event_id=shown["event_id"].upper().replace("-", "")) == ["u"]
    assert found(timestamp={"gte": "2026-03-02", "lt": "2026-03-03T01:00:00+02:00"}) == ["u"]
    assert found(timestamp={"gt": int(START.timestamp())}) == ["u", "v"]
    assert found(timestamp=int(START.timestamp() * 1e6) + 1) == ["u"]
    assert found(received_at={"lt": START.timestamp() * 1000 + 1}) == ["u"]
    assert found(**{"properties.timestamp": "mine"}) == ["u"]
    assert found(**{"properties.event_id": 5}) == ["u"]
    assert found(**{"properties.properties.a": 1}) == ["u"]
    assert found(**{"properties.event": {"exists": False}}) == ["u", "v"]


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"event_id": "mine"}, "a UUID"),
        ({"event_id": 5}, "a UUID"),
        ({"event_id": {"gt": "00000000-0000-0000-0000-000000000000"}}, "takes no `gt`"),
        ({"event_id": {"contains": "0"}}, "takes no `contains`"),
        ({"timestamp": "yesterday"}, "ISO 8601"),
        ({"timestamp": None}, "ISO 8601"),
        ({"timestamp": True}, "ISO 8601"),
        ({"received_at": ["2026-03-02", "x"]}, "ISO 8601"),
        ({"received_at": {"contains": "2026"}}, "takes no `contains`"),
    ],
)
def test_what_no_field_can_be_is_refused(
    client: QueryClient, clickhouse: ClickHouseSettings, conditions: dict[str, Any], says: str
) -> None:
    error = Project(client, clickhouse).refused("events", filter=conditions)
    (key,) = conditions
    assert (error["code"], error["field"]) == ("invalid_filter", f"filter.{key}")
    assert says in error["message"]
    assert f"`properties.{key}`" in error["message"]


# Measures of traits.


def test_a_measure_of_a_trait_reads_the_trait(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project = Project(client, clickhouse)

    def call(who: str, kind: str, traits: dict[str, Any], group: str = "") -> Call:
        group_type = "company" if group else ""
        return Call(str(uuid.uuid4()), kind, who, START - DAY, json.dumps(traits), group_type, group)

    events = [event("e", who, timedelta(hours=i), '{"plan":"pro"}') for i, who in enumerate(["u", "v", "w"])]
    calls = [
        call("u", "identify", {"age": 20}),
        call("v", "identify", {"age": 40, "deep": {"n": 5}}),
        call("w", "identify", {"age": "old"}),
        call("u", "group", {"seats": 10}, "acme"),
        call("v", "group", {"seats": 50}, "beta"),
    ]
    store_people(clickhouse, {project.name: PeopleHistory(events, {}, calls)})
    assert project.measured("avg", "person.age") == {"all": 30}
    assert project.measured("sum", "person.age") == {"all": 60}
    assert project.measured("max", "person.age", breakdown="plan") == {"pro": 40}
    assert project.measured("sum", "person.deep.n") == {"all": 5}
    assert project.measured("sum", "group.company.seats") == {"all": 60}
    assert project.measured("min", "group.company.seats", aggregate_by="company") == {"all": 10}
    assert project.measured("percentile", "person.none") == {"all": None}
    assert project.measured("sum", "person.age", filter={"person.age": {"lt": 30}}) == {"all": 20}


def test_a_number_inside_a_trait_is_of_any_size(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project = Project(client, clickhouse)
    said: dict[str, list[dict[str, Any]]] = {
        "u": [{"traits": {"deep": {"n": 2**64 + 1}}}],
        "v": [{"traits": {"deep": {"n": str(2**64 + 1)}}}],
        "w": [{"traits": {"deep": {"n": -(2**70)}}}, {"traits": {"other": 1}}],
        # A later call says all of the trait; null removes it, and then it is set once.
        "x": [{"traits": {"deep": {"n": 2**65}}}, {"traits": {"deep": {"m": 1}}}],
        "y": [{"traits": {"deep": {"n": 2**65}}}, {"traits": {"deep": None}}],
        "z": [{"traits": {"deep": {"n": 1}}}, {"traits": {"deep": None}, "set_once": {"deep": {"n": 2**64}}}],
    }
    events = [event("e", who, timedelta(hours=i)) for i, who in enumerate(said)]
    lines = []
    for who, calls in said.items():
        for i, call in enumerate(calls):
            body = {"distinct_id": who, "timestamp": (START - DAY + timedelta(hours=i)).isoformat(), **call}
            lines += take_identify(json.dumps(body).encode(), project.name, START, None).lines
    store(clickhouse, {project.name: History(events)})
    insert_lines(clickhouse, IDENTITY_LOG, msgspec.json.Encoder().encode_lines(lines))

    def found(condition: Any) -> str:
        answered = project.ask("events", filter={"person.deep.n": condition})["events"]
        return "".join(event["distinct_id"] for event in answered)

    assert [found(n) for n in (2**64 + 1, str(2**64 + 1), -(2**70), 2**65, 2**64)] == ["u", "v", "w", "", "z"]
    assert [found({"gt": 2**60}), found({"lt": 0}), found({"exists": False})] == ["uz", "w", "xy"]
    assert project.measured("max", "person.deep.n") == {"all": 2**64 + 1}
    assert project.measured("min", "person.deep.n") == {"all": -(2**70)}


def test_an_array_of_a_trait_has_integers_of_any_size(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project = Project(client, clickhouse)
    values = {"u": [2**64, "x", 1.5, None], "v": [str(2**64), [2**64]], "w": f"[{2**64}]", "x": [-(2**64)]}
    events = [event("e", who, timedelta(hours=i)) for i, who in enumerate(values)]
    calls = []
    for who, value in values.items():
        for kind, group_type, group in (("identify", "", ""), ("group", "company", f"of {who}")):
            text = json.dumps({"n": value, "deep": {"n": value}})
            calls.append(Call(str(uuid.uuid4()), kind, who, START - DAY, text, group_type, group))
    store_people(clickhouse, {project.name: PeopleHistory(events, {}, calls)})
    for key in ("person.n", "group.company.n", "person.deep.n", "group.company.deep.n"):

        def found(operand: Any, key: str = key) -> str:
            answered = project.ask("events", filter={key: {"contains": operand}})["events"]
            size = project.ask("cohort", cohort={"traits": {key: {"contains": operand}}})["size"]
            assert size == len(answered)
            return "".join(event["distinct_id"] for event in answered)

        assert [found(n) for n in (2**64, -(2**64), 2**64 + 1, 1.5, "x", None)] == ["u", "x", "", "u", "u", "u"]
        assert found(str(2**64)) == "vw"  # a member, or a part of a text


@pytest.mark.parametrize("name", ["person.", "group.", "group.company", "group.company.", "timestamp", "event_id"])
def test_what_is_no_number_by_its_name_is_refused(
    client: QueryClient, clickhouse: ClickHouseSettings, name: str
) -> None:
    series = [{"event": "e", "measure": "sum", "property": name}]
    error = Project(client, clickhouse).refused("trends", series=series)
    assert (error["code"], error["field"]) == ("invalid_field", "series[0].property")
    assert f"`properties.{name}`" in error["message"]


def test_doubled_rows_change_no_figure(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    events = [
        event("e", "u", timedelta(hours=i), f'{{"n":{n},"c":"{c}"}}') for i, (c, n) in enumerate([("a", 1), ("b", 3)])
    ]
    project = Project(client, clickhouse, *events)
    for _ in range(3):
        insert_lines(clickhouse, EVENTS, event_line(project.name, events[0]))
    for measure in ("sum", "avg", "max"):
        assert project.measured(measure, breakdown="c", top=1) == {"b": 3, "other": 1}, measure
