"""Tables and their cells, as values."""

from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

from msgspec import UNSET, Raw, Struct, UnsetType

from services.console.frame.show import number
from services.console.queries.cells import write_cell
from services.console.results.numbers import NOTHING

# The sums of several tables under one head.
SIDE_BY_SIDE, PART = "Side by side", "Part"
_FEW = 3
# A month of days, and their sum: the page of the query has all.
_TILE_ROWS = 32
_DEEPEST = 10


class Cell(Struct, frozen=True):
    """`behind`: which number this is, for the people behind it; empty where nobody stands there. `note`: small, below.

    `heat`: from 0 to 10, how deep its colour is. `is_open`: it will still grow. `is_word`: a link, no number.
    `title`: how the number came about.
    """

    text: str
    behind: str = ""
    note: str = ""
    heat: int | None = None
    is_open: bool = False
    is_word: bool = False
    title: str = ""


class Row(Struct, frozen=True):
    """`depth`: how far its head stands to the right."""

    head: str
    cells: list[Cell]
    depth: int = 0
    is_sum: bool = False


class Table(Struct, frozen=True):
    """`corner`: above the heads of rows. `note`: a sentence below. `cut`: how many rows were left out; `is_cut_above`: the first
    ones, because the last ones are of more interest.

    `is_text`: its cells are no numbers. `is_open`: it is not folded up.
    """

    caption: str
    columns: list[str]
    rows: list[Row]
    cut: int = 0
    is_cut_above: bool = False
    is_text: bool = False
    is_open: bool = False
    corner: str = ""
    note: str = ""

    @property
    def on_tile(self) -> list[Row]:
        if not self.is_cut_above:
            return self.rows[:_TILE_ROWS]
        others = [row for row in self.rows if not row.is_sum]
        return [*(row for row in self.rows if row.is_sum), *others[-_TILE_ROWS + 1 :]]

    @property
    def off_tile(self) -> int:
        return len(self.rows) - len(self.on_tile)

    @property
    def is_narrow(self) -> bool:
        """Over the whole width of a page the few numbers would stand far from their heads."""
        return len(self.columns) <= _FEW


def behind(**cell: Any) -> str:
    """Which number, as the address has it. Fields that are None are left out."""
    pairs = write_cell({name: value for name, value in cell.items() if value is not None})
    return "&".join(f"{name}={_quoted(value)}" for name, value in pairs)


@lru_cache(2048)
def _quoted(text: str) -> str:
    """The cells of a table say the same few texts: to quote them was half of the time of a page."""
    return quote_plus(text)


def line_of(kind: str, value: Raw | UnsetType) -> dict[str, Any] | None:
    """The line of a cell; None for the only one."""
    if kind == "all":
        return None
    return {"kind": kind} if value is UNSET else {"kind": kind, "value": value}


def heat_of(part: float, whole: float) -> int:
    """Of a cell: 0 is nothing alone."""
    return 0 if not part else min(max(1, round(_DEEPEST * part / whole)), _DEEPEST)


def count_cell(value: float | int | None, which: str, **more: Any) -> Cell:
    """Nobody stands behind nothing."""
    return Cell(number(value) if value is not None else NOTHING, which if value else "", **more)
