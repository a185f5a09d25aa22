"""Retention: a table whose cells are the deeper in colour the more came back."""

from zoneinfo import ZoneInfo

from msgspec import UNSET, Struct

from services.console.frame.show import number
from services.console.results.numbers import line_names, period, share
from services.console.results.tables import PART, SIDE_BY_SIDE, Cell, Row, Table, behind, count_cell, heat_of, line_of
from services.contract.api.retention import RetentionResult

# More than these nobody reads on a page: the CSV has all.
MAX_SIDE = 62
_NOTE = "All together: a share is of those alone whose {} lies in the window and has ended; others are left out."
_EMPTY = "{} in which nobody began: left out."
_OPEN, _AFTER = "has not ended yet", "lies after the window"
Matrix = list[list[int]]


class _Part(Struct, frozen=True):
    """The whole matrix, or that of a line of the breakdown."""

    name: str
    matrix: Matrix
    line: dict[str, object] | None


def retention_tables(result: RetentionResult, zone: ZoneInfo, unit: str = "people") -> list[Table]:
    """The whole, a table a line, and the period before; where there are several, first of all their sums."""
    parts = [_Part("Everybody", result.matrix, None)]
    if result.breakdown is not UNSET:
        names = line_names(result.breakdown)
        parts += [
            _Part(name, line.matrix, line_of(line.kind, line.value))
            for name, line in zip(names, result.breakdown, strict=True)
        ]
    sides = [(part, result, True) for part in parts]
    if result.previous is not UNSET:
        sides.append((_Part("The period before", result.previous.matrix, None), result.previous, False))
    width = max(width_of(part.matrix) for part, _, _ in sides)
    tables = [_table(part, of, width, zone, unit, can_ask) for part, of, can_ask in sides]
    if len(tables) == 1:
        return tables
    rows = [Row(table.caption, table.rows[0].cells) for table in tables]
    together = Table(SIDE_BY_SIDE, tables[0].columns, rows, corner=PART, is_open=True)
    return [together, *tables]


def _table(part: _Part, result: RetentionResult, width: int, zone: ZoneInfo, unit: str, can_ask: bool) -> Table:
    begun = _begun(part.matrix)
    said = result.interval.capitalize()
    columns = [unit.capitalize(), *(f"{said} {offset}" for offset in range(1, width))]
    rows = [_row(part, i, width, result, zone, can_ask) for i in begun[-MAX_SIDE:]]
    average = _average(part, result, width)
    corner = f"First {result.interval}"
    return Table(
        part.name,
        columns,
        [average, *rows],
        cut=len(begun) - len(rows),
        is_cut_above=True,
        corner=corner,
        note=" ".join(_notes(part.matrix, result, len(begun), average)),
        is_open=part.line is None and can_ask,
    )


def _begun(matrix: Matrix) -> list[int]:
    return [i for i, numbers in enumerate(matrix) if numbers and numbers[0]]


def width_of(matrix: Matrix) -> int:
    """Up to the last column in which somebody came back; one at least, where there is one."""
    begun = _begun(matrix)
    longest = max((len(matrix[i]) for i in begun), default=0)
    last = max((offset for i in begun for offset, back in enumerate(matrix[i]) if back), default=0)
    return min(max(last + 1, 2), longest, MAX_SIDE)


def _notes(matrix: Matrix, result: RetentionResult, begun: int, average: Row) -> list[str]:
    """What is left out, and why."""
    notes = []
    if any(cell.title for cell in average.cells):
        notes.append(_NOTE.format(result.interval))
    if empty := len(matrix) - begun:
        notes.append(_EMPTY.format(f"{number(empty)} {result.interval}{'s' if empty > 1 else ''}"))
    return notes


def _row(part: _Part, cohort: int, width: int, result: RetentionResult, zone: ZoneInfo, can_ask: bool) -> Row:
    people, *others = part.matrix[cohort][:width]
    label = period(result.periods[cohort], result.interval, zone)

    def which(offset: int) -> str:
        return behind(cohort=cohort, offset=offset or None, line=part.line, said=label) if can_ask else ""

    cells = [count_cell(people, which(0), is_open=not result.complete[cohort])]
    for offset, back in enumerate(others, 1):
        is_open = not result.complete[cohort + offset]
        cells.append(_cell(back, people, which(offset), is_open))
    return Row(label, cells)


def _cell(back: int, people: int, which: str, is_open: bool) -> Cell:
    if not people:
        return Cell("")
    if not back:
        return Cell(number(0), heat=0, is_open=is_open)
    return Cell(
        share(back, people),
        which,
        note=number(back),
        heat=heat_of(back, people),
        is_open=is_open,
    )


def _average(part: _Part, result: RetentionResult, width: int) -> Row:
    """Of those who could come back: time buckets that have not ended are left out."""
    cells = [Cell(number(sum(row[0] for row in part.matrix if row)))]
    for offset in range(1, width):
        back, people = _sums(part.matrix, result.complete, offset)
        heat, title = heat_of(back, people) if people else None, _title(part.matrix, result, offset)
        cells.append(Cell(share(back, people), note=number(back), heat=heat, title=title))
    return Row("All together", cells, is_sum=True)


def shares_of(matrix: Matrix, result: RetentionResult, count: int) -> list[tuple[int, int]]:
    """Of the first so many periods after the beginning: how many came back, of how many who could."""
    return [_sums(matrix, result.complete, offset) for offset in range(1, count + 1)]


def _title(matrix: Matrix, result: RetentionResult, offset: int) -> str:
    """Which people the share is of, and who is left out. Empty where it is of all."""
    back, people = _sums(matrix, result.complete, offset)
    rows = [(i, row) for i, row in enumerate(matrix) if row]
    after = sum(row[0] for _, row in rows if offset >= len(row))
    open_ = sum(row[0] for i, row in rows if offset < len(row) and not result.complete[i + offset])
    why = " or ".join([_OPEN] * bool(open_) + [_AFTER] * bool(after))
    if not why:
        return ""
    return f"{number(back)} of {number(people)}: {result.interval} {offset} of {number(after + open_)} more {why}"


def _sums(matrix: Matrix, complete: list[bool], offset: int) -> tuple[int, int]:
    rows = [row for i, row in enumerate(matrix) if offset < len(row) and complete[i + offset]]
    return sum(row[offset] for row in rows), sum(row[0] for row in rows)
