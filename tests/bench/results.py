"""What a run has found: rows of figures, the bars they are held against, one table and one JSON file."""

from pathlib import Path

import msgspec
from msgspec import Struct, field
from rich.console import Console
from rich.table import Table


class Row(Struct, kw_only=True):
    """One measurement. `rate` is of `unit`; `cpu_us` is CPU time of each process on one event (or request).

    `how` says what was run with which parameters, `checked` what was counted afterwards.
    """

    part: int
    name: str
    rate: float = 0
    unit: str = "events/s"
    cpu_us: dict[str, float] = field(default_factory=dict)
    latencies_ms: dict[str, float] = field(default_factory=dict)
    rss_mib: dict[str, float] = field(default_factory=dict)
    more: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    how: str = ""
    checked: str = ""


class Bar(Struct, kw_only=True):
    """A target: `got` has to be at least (or, with `at_most`, at most) `wanted`."""

    name: str
    wanted: float
    got: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.got <= self.wanted if self.at_most else self.got >= self.wanted


class Results(Struct, kw_only=True):
    """All of a run. `growth` holds the series that the plots are drawn from: name -> points."""

    machine: dict[str, str]
    plan: dict[str, float | bool | str]
    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    growth: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")


PARTS = {
    1: "Edge, batches of 1000, one core",
    2: "Edge, single events over 64 connections, one core",
    3: "Worker, one core",
    4: "End to end on two cores",
    5: "Peers on the same events, broker and engine",
    6: "How it grows",
    7: "Edge, batches of 100 of Segment's SDKs, one core",
}


def print_results(results: Results, console: Console) -> None:
    console.print(*[f"{name}: {value}" for name, value in results.machine.items()], sep="\n", highlight=False)
    for part, title in PARTS.items():
        rows = [row for row in results.rows if row.part == part]
        if rows:
            console.print(_table(f"{part}. {title}", rows))
    print_bars(results.bars, console)
    for note in results.notes:
        console.print(f"note: {note}", highlight=False)


def print_bars(bars: list[Bar], console: Console) -> None:
    if bars:
        console.print(_bars(bars))


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    for name in ("measured", "rate", "CPU µs each", "ms", "MiB", "more", "ratios"):
        table.add_column(name, justify="right" if name == "rate" else "left", overflow="fold")
    for row in rows:
        how = f"{row.name}\n[dim]{row.how}{'; checked: ' + row.checked if row.checked else ''}[/dim]"
        rate = f"{row.rate:,.0f}\n{row.unit}" if row.rate else ""
        pairs = (row.cpu_us, row.latencies_ms, row.rss_mib, row.more, row.ratios)
        table.add_row(how, rate, *[_lines(values) for values in pairs])
    return table


def _lines(values: dict[str, float]) -> str:
    return "\n".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _bars(bars: list[Bar]) -> Table:
    table = Table("bar", "wanted", "got", "", title="Bars", title_justify="left")
    for bar in bars:
        sign = "≤" if bar.at_most else "≥"
        table.add_row(bar.name, f"{sign} {_short(bar.wanted)}", _short(bar.got), "met" if bar.met else "[bold]not met")
    return table
