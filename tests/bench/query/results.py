"""What a run has found: one row a query and case, bars, ratios; one table and one JSON file."""

from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct, field
from rich.console import Console
from rich.table import Table

MIB = 1024 * 1024


class Row(Struct, kw_only=True):
    """One way to answer one query. Times in ms; `warm_ms` are all runs in order. `cpu_ms`: of all processes, a warm run;
    half of it is the least that two cores could take, whatever else the machine is busy with.

    `case`: merged (parts merged, 3 % of ids merged), fresh (the month in unmerged parts), no merges, a million merges.
    `how`: the service, a proposal (plain SQL, not what is asked), the comparable system's method, one of another
    meaning beside it, or DuckDB.
    """

    query: str
    case: str
    how: str
    warm_ms: list[float]
    cpu_ms: float
    cold_ms: float | None = None
    rows: int | None = None
    bytes: int | None = None
    peak_memory_bytes: int | None = None

    @property
    def typical_ms(self) -> float:
        return median(self.warm_ms)


class Bar(Struct, kw_only=True):
    """A target: `got` must be at most (or, for ratios of speed, at least) `wanted`."""

    name: str
    wanted: float
    got: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.got >= self.wanted if self.at_least else self.got <= self.wanted


class Results(Struct, kw_only=True):
    """All of a run."""

    machine: dict[str, str]
    events: int
    bytes_on_disk: int
    build_s: float
    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def row(self, query: str, case: str, how: str) -> Row | None:
        found = (r for r in self.rows if (r.query, r.case) == (query, case) and r.how.startswith(how))
        return next(found, None)

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")


def print_results(results: Results, console: Console) -> None:
    for name, value in results.machine.items():
        console.print(f"{name}: {value}", highlight=False)
    size = f"{results.bytes_on_disk / MIB:,.0f} MiB on disk, {results.bytes_on_disk / results.events:.1f} bytes each"
    console.print(f"{results.events:,} events, {size}, built in {results.build_s:,.0f} s", highlight=False)
    table = Table(title="Queries (ms; rows in millions; MiB)", title_justify="left")
    table.add_column("query")
    table.add_column("case")
    table.add_column("how")
    for name in ("cold", "warm", "min", "CPU", "rows", "read", "peak"):
        table.add_column(name, justify="right")
    before = ""
    for row in results.rows:
        if before not in ("", row.query):
            table.add_section()
        before = row.query
        figures = (
            _text(row.cold_ms, 1, 0),
            _text(row.typical_ms, 1, 0),
            _text(min(row.warm_ms), 1, 0),
            _text(row.cpu_ms, 1, 0),
            _text(row.rows, 1e6, 2),
            _text(row.bytes, MIB, 0),
            _text(row.peak_memory_bytes, MIB, 0),
        )
        table.add_row(row.query, row.case, row.how, *figures)
    console.print(table)
    console.print(_bars(results.bars))
    for note in results.notes:
        console.print(f"note: {note}", highlight=False)


def _text(value: float | None, unit: float, digits: int) -> str:
    return "" if value is None else f"{value / unit:,.{digits}f}"


def _bars(bars: list[Bar]) -> Table:
    table = Table("bar", "wanted", "got", "", title="Bars", title_justify="left")
    for bar in bars:
        sign = "≥" if bar.at_least else "≤"
        got = f"{bar.got:,.2f}" if bar.got < 20 else f"{bar.got:,.0f}"
        table.add_row(bar.name, f"{sign} {bar.wanted:,.4g}", got, "met" if bar.met else "[bold]not met")
    return table
