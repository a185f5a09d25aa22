"""Pictures of answers: where lines, bars and streams stand, as values."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.console.queries.cells import read_cell
from services.console.results.flow import Node, Stream, flow_picture
from services.console.results.lines import line_bars, line_picture
from services.console.results.numbers import THIN
from services.console.results.scale import HIGH, WIDE, scale_of, time_ticks
from services.console.results.trends import lines_of
from services.contract.api.trends import TrendsResult

UTC_ZONE = ZoneInfo("UTC")
START = datetime(2026, 3, 1, tzinfo=UTC)


def trends(*values: list[float | int | None], complete: list[bool] | None = None, **more: Any) -> TrendsResult:
    """A line each."""
    count = len(values[0])
    lines = [{"kind": "value", "value": f"v{i}", "values": numbers} for i, numbers in enumerate(values)]
    answer = {
        "interval": "day",
        "periods": [START + timedelta(days=i) for i in range(count)],
        "complete": complete or [True] * count,
        "series": [{"event": "buy", "measure": "avg", "lines": lines}],
        **more,
    }
    return msgspec.json.decode(msgspec.json.encode(answer), type=TrendsResult)


def strokes(result: TrendsResult) -> list[list[tuple[str, str]]]:
    picture = line_picture(result, lines_of(result, []), UTC_ZONE)
    return [[(one.kind, one.path) for one in line.strokes] for line in picture.lines]


def test_a_line_s_last_part_is_another_stroke_from_the_last_point_that_has_ended() -> None:
    assert strokes(trends([10, 0, 5], complete=[True, True, False])) == [
        [("whole", "M0 0L5000 1000"), ("open", "M5000 1000L10000 500")]
    ]
    assert strokes(trends([10, 0], complete=[False, False])) == [[("open", "M0 0L10000 1000")]]


def test_where_there_is_no_value_is_a_gap_and_a_point_alone_is_a_dot() -> None:
    assert strokes(trends([10, None, 10, 10, None], [0, 10, None, 10, 0])) == [
        [("whole", "M0 0h0M5000 0L7500 0")],
        [("whole", "M0 1000L2500 0M7500 0L10000 1000")],
    ]


def test_the_period_before_lies_under_the_line() -> None:
    before: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(trends([5, 10, 7])))
    result = trends([10, 0], previous=before)
    picture = line_picture(result, lines_of(result, []), UTC_ZONE)
    assert [(one.kind, one.path) for one in picture.lines[0].strokes] == [
        ("before", "M0 500L10000 0"),
        ("whole", "M0 0L10000 1000"),
    ]
    assert picture.has_before


def test_hints_say_what_stands_there_and_lead_to_who() -> None:
    result = trends([1, None], [3, 4], complete=[True, False])
    hints = msgspec.json.decode(line_picture(result, lines_of(result, []), UTC_ZONE).hints)
    assert (hints["labels"], hints["ended"]) == (["Sun 1 Mar 2026", "Mon 2 Mar 2026"], 1)
    assert (hints["low"], hints["high"]) == (0, 4)
    assert [line["values"] for line in hints["lines"]] == [[1, None], [3, 4]]
    assert read_cell(hints["lines"][1]["cell"]) == {"line": {"kind": "value", "value": "v1"}}


def test_dots_only_where_they_do_not_touch() -> None:
    for count, has_dots in ((3, True), (90, False)):
        result = trends([1] * count)
        assert bool(line_picture(result, lines_of(result, []), UTC_ZONE).lines[0].dots) == has_dots


def test_one_period_is_bars_from_nought() -> None:
    result = trends([30], [-10], [None])
    bars = line_bars(result, lines_of(result, []), UTC_ZONE)
    assert [(bar.left, bar.width, bar.value.text) for bar in bars] == [
        ("25.00%", "75.00%", "30"),
        ("0.00%", "25.00%", "-10"),
        ("25.00%", "0.00%", "–"),
    ]
    assert read_cell(bars[0].value.behind) == {"bucket": 0, "line": {"kind": "value", "value": "v0"}}


def test_one_period_in_which_nobody_has_a_value_has_no_bars() -> None:
    """It was a fault of the console: today, before the first event of a breakdown."""
    assert line_bars(trends([None]), [], UTC_ZONE) == []


@pytest.mark.parametrize(
    "values", [[1e308, -1e308], [1.7e308], [-1.7e308, 3], [5e-324], [2e-323, None], [10**400, 1], [1e308, 1e-308]]
)
def test_a_double_of_any_size_has_its_place(values: list[float | int | None]) -> None:
    scale = scale_of(values)
    assert all(0 <= scale.y(value) <= HIGH for value in values if value is not None)
    assert len(scale.ticks) <= 12
    assert all(len(tick) < 20 for tick in scale.ticks)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([], ["1", "0"]),
        ([None, 0], ["1", "0"]),
        ([3], ["3", "2", "1", "0"]),
        ([0.5], ["0.5", "0.4", "0.3", "0.2", "0.1", "0"]),
        ([1234], [f"1{THIN}500", f"1{THIN}000", "500", "0"]),
        ([-3, 8], ["10", "5", "0", "-5"]),
        ([9_000_000], [f"{n}{THIN}M" for n in (10, 8, 6, 4, 2)] + ["0"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float | int | None], ticks: list[str]) -> None:
    assert scale_of(values).ticks == ticks


def test_ticks_of_time_say_the_year_where_it_changes() -> None:
    starts = [datetime(2025, 12, 1, tzinfo=UTC) + timedelta(days=7 * i) for i in range(12)]
    ticks = time_ticks(starts, "week", UTC_ZONE)
    assert [tick.text for tick in ticks] == ["1 Dec 2025", "15 Dec", "29 Dec", "12 Jan 2026", "26 Jan", "9 Feb"]
    assert [tick.is_minor for tick in ticks] == [False, True] * 3
    assert time_ticks(starts[:1], "hour", ZoneInfo("Asia/Kolkata"))[0].text == "1 Dec 05:30"


def column(nodes: list[Node], place: int) -> list[Node]:
    return sorted((node for node in nodes if node.x == place), key=lambda node: node.top)


def test_streams_do_not_cross_where_they_need_not() -> None:
    found = [Stream((0, "s"), (1, name), 10) for name in ("a", "b", "c")]
    found += [Stream((1, name), (2, of), 10) for name, of in (("a", "z"), ("b", "x"), ("c", "y"))]
    nodes = flow_picture(found, last="").nodes
    first, second = ([node.name for node in column(nodes, x)] for x in (WIDE // 2, WIDE))
    ends = {"a": "z", "b": "x", "c": "y"}
    assert [ends[name] for name in first] == second


def test_a_long_name_is_cut_and_the_first_column_can_stand_at_the_right() -> None:
    name = "checkout_completed_with_a_voucher"
    source, target = flow_picture([Stream((0, name), (1, "b"), 3)], last="", is_mirrored=True).nodes
    assert (source.name, source.short, source.is_last, target.is_last) == (name, f"{name[:27]}…", True, False)
    assert (source.x, target.x) == (WIDE, 0)
