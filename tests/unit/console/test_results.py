"""Answers of the API as pictures and tables: values."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.console.queries.cells import read_cell
from services.console.results.funnel import funnel_bars, funnel_tables
from services.console.results.numbers import THIN, change, duration, share
from services.console.results.paths import MAX_ROWS as MAX_WAYS
from services.console.results.paths import path_picture, path_table
from services.console.results.result import shown
from services.console.results.retention import MAX_SIDE
from services.console.results.tables import Cell as TableCell
from services.console.results.tables import Row, Table, behind
from services.console.results.trends import MAX_LINES, MAX_ROWS, lines_of, trends_table
from services.contract.api.funnel import FunnelResult
from services.contract.api.path import PathResult
from services.contract.api.people import Cell
from services.contract.api.trends import TrendsResult

T = TypeVar("T")
BERLIN = ZoneInfo("Europe/Berlin")
PERIODS = ["2026-02-28T23:00:00Z", "2026-03-01T23:00:00Z", "2026-03-02T23:00:00Z"]


def made(answer: Any, of: type[T]) -> T:
    """As it comes from the API."""
    return msgspec.json.decode(msgspec.json.encode(answer), type=of)


def texts(table: Table) -> list[list[str]]:
    return [[row.head, *(cell.text for cell in row.cells)] for row in table.rows]


def trends(**more: Any) -> TrendsResult:
    answer = {
        "interval": "day",
        "periods": PERIODS,
        "complete": [True, True, False],
        "series": [
            {"event": "buy", "measure": "count", "lines": [{"kind": "all", "values": [1200, 0, 3]}]},
            {
                "event": ["a", "<b>"],
                "measure": "avg",
                "lines": [
                    {"kind": "value", "value": "pro", "values": [1.5, None, 2]},
                    {"kind": "missing", "values": [0, 0, 0]},
                ],
            },
        ],
        **more,
    }
    return made(answer, TrendsResult)


def test_the_lines_of_trends_have_names() -> None:
    assert [line.name for line in lines_of(trends(), [None, "price"])] == [
        "buy",
        "a or <b> · average of price · pro",
        "a or <b> · average of price · (not set)",
    ]


def test_values_that_look_the_same_have_names_of_their_own() -> None:
    """The number 1 and the text 1 were two columns of one name."""
    values = [1, "1", "pro", "null", None, "(not set)", "42"]
    lines = [{"kind": "value", "value": value, "values": [1, 1, 1]} for value in values]
    lines.append({"kind": "missing", "values": [1, 1, 1]})
    result = trends(series=[{"event": "buy", "measure": "count", "lines": lines}])
    assert [line.name.removeprefix("buy · ") for line in lines_of(result, [])] == [
        *("1", '"1"', "pro", '"null"', "null", '"(not set)"', "42", "(not set)")
    ]


def test_trends_as_a_table() -> None:
    result = trends()
    table = trends_table(result, lines_of(result, []), BERLIN)
    assert texts(table) == [
        ["Whole window", f"1{THIN}203", "who?", ""],
        ["Sun 1 Mar 2026", f"1{THIN}200", "1.5", "0"],
        ["Mon 2 Mar 2026", "0", "–", "0"],
        ["Tue 3 Mar 2026", "3", "2", "0"],
    ]
    first, empty, last = (row.cells[0] for row in table.rows[1:])
    assert (read_cell(first.behind), empty.behind, last.is_open) == ({"bucket": 0}, "", True)


def test_trends_beside_the_period_before() -> None:
    before: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(trends()))
    before["series"][0]["lines"][0]["values"] = [600, 3, 1]
    before["series"][1]["lines"].reverse()
    result = trends(previous=before)
    lines = lines_of(result, [])
    assert texts(trends_table(result, lines[:1], BERLIN)) == [
        ["Whole window", f"1{THIN}203", "604", f"+99.2{THIN}%"],
        ["Sun 1 Mar 2026", f"1{THIN}200", "600", f"+100.0{THIN}%"],
        ["Mon 2 Mar 2026", "0", "3", f"−100.0{THIN}%"],
        ["Tue 3 Mar 2026", "3", "1", ""],
    ]
    assert lines[1].before == [1.5, None, 2]


def test_a_page_holds_so_many_numbers_and_no_more() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    periods = [(start + timedelta(hours=i)).isoformat() for i in range(MAX_ROWS + 50)]
    series = [
        {"event": "a", "measure": "count", "lines": [{"kind": "all", "values": list(range(len(periods)))}]}
        for _ in range(MAX_LINES + 2)
    ]
    answer = {"interval": "hour", "periods": periods, "complete": [True] * len(periods), "series": series}
    found = shown("trends", {"series": [{"event": "a"}]}, msgspec.json.encode(answer))
    (table,) = found.tables
    assert (len(table.rows), table.cut, len(table.columns)) == (MAX_ROWS + 1, 50, MAX_LINES)
    assert found.warnings == ["The first 30 of 32 lines are shown: the CSV has all."]
    assert found.lines is not None
    assert len(found.lines.lines) == MAX_LINES
    matrix = [[1] * (MAX_SIDE + 10 - i) for i in range(MAX_SIDE + 10)]
    wide = {"matrix": matrix, "interval": "hour", "periods": periods[: len(matrix)], "complete": [True] * len(matrix)}
    (table,) = shown("retention", {}, msgspec.json.encode(wide)).tables
    assert (len(table.rows), len(table.columns), table.cut) == (MAX_SIDE + 1, MAX_SIDE, 10)
    assert len(table.rows[1].cells) == MAX_SIDE


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("trends", {"interval": "day", "periods": PERIODS, "complete": [True] * 3, "series": []}),
        ("cohort", {"size": 3, "people": ["a"]}),
    ],
)
def test_an_answer_of_a_part_of_the_store_says_so(kind: str, answer: Any) -> None:
    """Its numbers were shown as those of all."""
    whole = shown(kind, {}, msgspec.json.encode({**answer, "warnings": ["unknown"]}))
    assert whole.warnings == ["unknown"]
    part = shown(kind, {}, msgspec.json.encode({**answer, "warnings": ["unknown"], "partial": True}))
    assert part.warnings == ["A part of the store did not answer: its events are missing here.", "unknown"]


def test_a_funnel_s_tile_shows_the_lines_side_by_side() -> None:
    lines = [{"kind": "value", "value": name, "steps": [step(4, None), step(2, 0.5)]} for name in ("a", "b")]
    answer = {"order": "ordered", "steps": [step(8, None), step(4, 0.5)], "breakdown": lines}
    found = shown("funnel", {}, msgspec.json.encode(answer))
    assert [found.is_open(place, True) for place in range(4)] == [True, False, False, False]
    whole = shown("funnel", {}, msgspec.json.encode(answer | {"breakdown": []}))
    assert [found.is_open(place, False) for place in range(4)] == [True, True, False, False]
    assert not whole.is_open(0, True)


def test_a_tile_has_room_for_so_many_rows() -> None:
    rows = [Row(str(i), [TableCell("1")]) for i in range(100)]
    assert [row.head for row in Table("T", ["N"], rows).on_tile] == [str(i) for i in range(32)]
    assert (Table("T", ["N"], rows).off_tile, Table("T", ["N"], rows[:32]).off_tile) == (68, 0)


def step(people: int, of_start: float | None, **more: Any) -> dict[str, Any]:
    times = {"drop_off": 1, "conversion_from_before": of_start, "median_seconds": 90.4, "p90_seconds": None}
    return {"people": people, "conversion_from_start": of_start, **times, **more}


def test_a_funnel_is_a_bar_a_step() -> None:
    answer = {
        "order": "ordered",
        "steps": [step(8, 1, event="home"), step(3, 0.375, event=["a", "b"]), step(0, 0, event=None, drop_off=0)],
        "breakdown": [{"kind": "value", "value": 7, "steps": [step(1, 1, event="home")]}],
        "previous": {"order": "ordered", "steps": [step(4, 1, event="home"), step(1, 0.25), step(0, 0)]},
    }
    result = made(answer, FunnelResult)
    first, second, third = funnel_bars(result)
    assert (first.name, first.width, first.of_before, first.time) == ("home", "100.00%", "", "")
    assert (second.name, second.width, second.of_start, second.time) == (
        "a or b",
        "37.50%",
        f"37.5{THIN}%",
        f"1{THIN}min 30{THIN}s",
    )
    assert (second.before, second.people_before) == ("25.00%", "1")
    assert read_cell(second.drop_off.behind) == {"step": 2, "part": "drop_off"}
    assert (third.name, third.people.behind, third.drop_off.behind) == ("any event", "", "")
    together, whole, seven, before = funnel_tables(result)
    assert together.columns == ["People", "a or b", "any event"]
    assert texts(together) == [
        ["Everybody", "8", f"37.5{THIN}%", f"0{THIN}%"],
        ["7", "1"],
        ["The period before", "4", f"25.0{THIN}%", f"0{THIN}%"],
    ]
    assert [(cell.note, cell.heat) for cell in together.rows[0].cells] == [("", None), ("3", 4), ("0", 0)]
    assert read_cell(together.rows[0].cells[1].behind) == {"step": 2}
    assert read_cell(together.rows[1].cells[0].behind) == {"step": 1, "line": {"kind": "value", "value": 7}}
    assert together.rows[2].cells[1].behind == ""
    assert texts(whole)[1] == [
        f"2.{THIN}a or b",
        "3",
        f"37.5{THIN}%",
        f"37.5{THIN}%",
        "1",
        f"1{THIN}min 30{THIN}s",
        "–",
    ]
    assert (seven.caption, before.caption) == ("7", "The period before")
    assert read_cell(seven.rows[0].cells[0].behind) == {"step": 1, "line": {"kind": "value", "value": 7}}
    assert before.rows[0].cells[0].behind == ""


def test_groups_are_called_by_their_type() -> None:
    result = made({"order": "ordered", "steps": [step(1, 1, event="a")]}, FunnelResult)
    assert funnel_tables(result, "company")[0].columns[0] == "Company"
    assert "5" in path_table(path(node("a", 5)), "after", "company").rows[1].cells[0].text
    assert path_picture(path(node("a", 5)), "after", "company").flows[0].said == "home → a: 5 company"


def test_steps_in_any_order_have_no_event() -> None:
    result = made({"order": "any", "steps": [step(1, 1)]}, FunnelResult)
    assert funnel_bars(result)[0].name == "Any 1 of the steps"


def node(event: str, count: int, *children: dict[str, Any], left: int = 0) -> dict[str, Any]:
    return {"event": event, "count": count, "drop_off": left, "continued": 0, "other": 0, "children": list(children)}


def path(*children: dict[str, Any], **more: Any) -> PathResult:
    return made({**node("", 9, *children), "root": "home", **more}, PathResult)


def test_paths_are_streams_and_a_tree() -> None:
    result = path(node("a", 5, node("b", 4), left=1), node("b", 4, node("b", 2, left=2)), drop_off=0)
    flows = path_picture(result).flows
    assert {flow.said for flow in flows} == {
        "home → a: 5 people",
        "home → b: 4 people",
        "a → b: 4 people",
        "b → b: 2 people",
        "a → nothing more: 1 people",
        "b → nothing more: 2 people",
    }
    assert read_cell(flows[0].behind) == {"node": ["a"]}
    table = path_table(result)
    assert [(row.head, row.depth, row.cells[0].text) for row in table.rows] == [
        ("home", 0, "9"),
        ("a", 1, "5"),
        ("b", 2, "4"),
        ("b", 1, "4"),
        ("b", 2, "2"),
    ]
    assert read_cell(table.rows[4].cells[2].behind) == {"node": ["b", "b"], "part": "drop_off"}


def test_paths_before_an_event_lead_to_it() -> None:
    picture = path_picture(path(node("a", 5, left=2)), "before")
    assert [flow.said for flow in picture.flows] == ["a → home: 5 people", "nothing before → a: 2 people"]
    assert [(one.name, one.is_last) for one in picture.nodes] == [
        ("home", True),
        ("a", False),
        ("nothing before", False),
    ]
    assert path_table(path(), "before").columns[2] == "Did nothing before"


def test_a_wide_tree_is_cut() -> None:
    result = path(*(node(f"e{i}", 300 - i) for i in range(300)))
    assert len(path_table(result).rows) == MAX_WAYS + 1
    assert path_table(result).cut == 300 - MAX_WAYS
    assert len(path_picture(result).nodes) == 9


@pytest.mark.parametrize(
    "cell",
    [
        {},
        {"series": 1, "bucket": 0, "line": {"kind": "value", "value": 'a&b="\u20ac'}},
        {"line": {"kind": "value", "value": None}},
        {"line": {"kind": "value", "value": ["1", 1.0]}},
        {"cohort": 3, "offset": 2, "line": {"kind": "missing"}},
        {"step": 2, "part": "drop_off"},
        {"node": ["a", "c d", "a&e=b"], "part": "other"},
    ],
)
def test_which_number_is_one_parameter(cell: dict[str, Any]) -> None:
    assert read_cell(behind(**cell)) == cell
    made(read_cell(behind(**cell)), Cell)
    assert len(parse_qsl("cell=" + behind(**cell).replace("&", "%26"), keep_blank_values=True)) == 1


def test_shares_and_times_as_they_look() -> None:
    assert [share(p, w) for p, w in ((0, 5), (5, 5), (1, 3), (1, 10**6), (10**6 - 1, 10**6), (1, 0))] == [
        f"0{THIN}%",
        f"100{THIN}%",
        f"33.3{THIN}%",
        f"<0.1{THIN}%",
        f">99.9{THIN}%",
        "–",
    ]
    assert [change(3, 2), change(1, 0), change(1, 2)] == [f"+50.0{THIN}%", "–", f"−50.0{THIN}%"]
    assert [duration(s) for s in (None, 0.25, 59.6, 3600, 100_000)] == [
        "–",
        f"0.2{THIN}s",
        f"1{THIN}min",
        f"1{THIN}h",
        f"1{THIN}d 3{THIN}h",
    ]
