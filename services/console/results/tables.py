"""Tables and their cells, as values."""

from typing import Any
from urllib.parse import urlencode

from msgspec import UNSET, Raw, Struct, UnsetType

from services.console.frame.show import number
from services.console.queries.cells import write_cell
from services.console.results.numbers import NOTHING


class Cell(Struct, frozen=True):
    """`behind`: which number this is, for the people behind it; empty where nobody stands there. `note`: small, below.

    `heat`: from 0 to 10, how deep its colour is. `is_open`: it will still grow.
    """

    text: str
    behind: str = ""
    note: str = ""
    heat: int | None = None
    is_open: bool = False


class Row(Struct, frozen=True):
    """`depth`: how far its head stands to the right."""

    head: str
    cells: list[Cell]
    depth: int = 0
    is_sum: bool = False


class Table(Struct, frozen=True):
    """`cut`: how many rows were left out. `is_text`: its cells are no numbers."""

    caption: str
    columns: list[str]
    rows: list[Row]
    cut: int = 0
    is_text: bool = False


def behind(**cell: Any) -> str:
    """Which number, as the address has it. Fields that are None are left out."""
    return urlencode(write_cell({name: value for name, value in cell.items() if value is not None}))


def line_of(kind: str, value: Raw | UnsetType) -> dict[str, Any] | None:
    """The line of a cell; None for the only one."""
    if kind == "all":
        return None
    return {"kind": kind} if value is UNSET else {"kind": kind, "value": value}


def count_cell(value: float | int | None, which: str, **more: Any) -> Cell:
    """Nobody stands behind nothing."""
    return Cell(number(value) if value is not None else NOTHING, which if value else "", **more)
