"""Answers of retention as a page and a tile show them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from services.console.queries.cells import read_cell
from services.console.results.numbers import THIN
from services.console.results.result import shown
from services.console.results.retention import MAX_SIDE, retention_tables
from services.console.results.tables import Table
from services.contract.api.retention import RetentionResult

BERLIN = ZoneInfo("Europe/Berlin")
PERIODS = ["2026-02-28T23:00:00Z", "2026-03-01T23:00:00Z", "2026-03-02T23:00:00Z"]


def made(answer: Any) -> RetentionResult:
    """As it comes from the API."""
    return msgspec.json.decode(msgspec.json.encode(answer), type=RetentionResult)


def texts(table: Table) -> list[list[str]]:
    return [[row.head, *(cell.text for cell in row.cells)] for row in table.rows]


def retention() -> RetentionResult:
    answer = {
        "matrix": [[100, 50, 1], [10, 5], [0]],
        "interval": "day",
        "periods": PERIODS,
        "complete": [True, True, False],
        "breakdown": [{"kind": "other", "matrix": [[4, 4, 0], [0, 0], [0]]}],
    }
    return made(answer)


def test_retention_is_a_table_of_shares() -> None:
    together, whole, others = retention_tables(retention(), BERLIN)
    assert texts(together) == [
        ["Everybody", "110", f"50.0{THIN}%", "–"],
        ["(others)", "4", f"100{THIN}%", "–"],
    ]
    assert (together.columns, together.is_open, whole.is_open, others.is_open) == (whole.columns, True, True, False)
    assert whole.columns == ["People", "Day 1", "Day 2"]
    assert whole.corner == "First day"
    assert [cell.title for cell in whole.rows[0].cells] == [
        "",
        "50 of 100: day 1 of 10 more has not ended yet",
        "0 of 0: day 2 of 110 more has not ended yet or lies after the window",
    ]
    assert "day lies in the window" in whole.note
    assert texts(whole) == [
        ["All together", "110", f"50.0{THIN}%", "–"],
        ["Sun 1 Mar 2026", "100", f"50.0{THIN}%", f"1.0{THIN}%"],
        ["Mon 2 Mar 2026", "10", f"50.0{THIN}%"],
    ]
    of_first = whole.rows[1].cells
    assert [cell.note for cell in of_first] == ["", "50", "1"]
    assert [cell.heat for cell in of_first] == [None, 5, 1]
    assert [cell.is_open for cell in of_first] == [False, False, True]
    assert read_cell(of_first[1].behind) == {"cohort": 0, "offset": 1}
    assert others.caption == "(others)"
    assert read_cell(others.rows[1].cells[1].behind) == {"cohort": 0, "offset": 1, "line": {"kind": "other"}}
    assert others.rows[1].cells[2].behind == ""


def test_retention_leaves_out_of_the_sum_what_has_not_ended() -> None:
    answer = {"matrix": [[4, 2], [4]], "interval": "day", "periods": PERIODS[:2], "complete": [True, True]}
    (table,) = retention_tables(made(answer), BERLIN)
    assert texts(table)[0] == ["All together", "8", f"50.0{THIN}%"]


def test_retention_keeps_the_newest_and_leaves_out_who_never_began() -> None:
    """Data of years ago, and one person of today: also on a tile."""
    count = 152
    matrix = [[0] * (count - i) for i in range(count)]
    for i in (*range(80), count - 1):
        matrix[i][0] = 4
    matrix[79][5] = 1
    periods = [(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(weeks=i)).isoformat() for i in range(count)]
    answer = {"matrix": matrix, "interval": "week", "periods": periods, "complete": [True] * (count - 1) + [False]}
    (table,) = retention_tables(made(answer), BERLIN)
    assert [table.rows[1].head, table.rows[-1].head] == ["13 May 2024", "23 Nov 2026"]
    assert (len(table.rows), table.cut) == (MAX_SIDE + 1, 19)
    assert table.columns == ["People", *(f"Week {i}" for i in range(1, 6))]
    assert [len(row.cells) for row in table.rows] == [6] * (MAX_SIDE) + [1]
    assert read_cell(table.rows[-1].cells[0].behind)["cohort"] == count - 1
    assert "71 weeks in which nobody began: left out." in table.note
    assert [table.on_tile[0].head, table.on_tile[-1].head] == ["All together", "23 Nov 2026"]
    assert (len(table.on_tile), table.off_tile) == (32, MAX_SIDE - 31)


def test_a_tile_has_the_curve_of_retention() -> None:
    answer = {
        "matrix": [[100, 50, 30, 9], [100, 40, 20], [10, 3], [7]],
        "interval": "week",
        "periods": [f"2026-03-{day:02}T00:00:00Z" for day in (2, 9, 16, 23)],
        "complete": [True, True, True, False],
        "breakdown": [{"kind": "other", "matrix": [[0, 0, 0, 0], [4, 1, 2], [0, 0], [0]]}],
    }
    found = shown("retention", {}, msgspec.json.encode(answer))
    assert found.curve is not None
    said = msgspec.json.decode(found.curve.hints)
    assert said["labels"] == ["Week 1", "Week 2", "Week 3"]
    assert [(line["name"], line["values"]) for line in said["lines"]] == [
        ("Everybody", [45.0, 30.0, None]),
        ("(others)", [25.0, None, None]),
    ]
    assert found.curve.scale.ticks[0] == f"50{THIN}%"
    assert [tick.text for tick in found.curve.ticks] == ["Week 1", "Week 2", "Week 3"]
    places = range(len(found.tables))
    assert [found.is_open(place, True) for place in places] == [False] * 3
    assert [found.is_open(place, False) for place in places] == [True, True, False]
    assert shown("retention", {}, msgspec.json.encode(answer | {"complete": [True, False, False, False]})).curve is None
    short = {"matrix": [[4, 2], [4]], "interval": "day", "periods": PERIODS[:2], "complete": [True, True]}
    alone = shown("retention", {}, msgspec.json.encode(short))
    assert (alone.curve, alone.is_open(0, True)) == (None, True)
