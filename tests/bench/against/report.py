"""The comparison as a table and as a JSON file."""

from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from tests.bench.against.figures import Figure
from tests.bench.against.turn import TITLES


class Report(Struct, kw_only=True):
    """Figures are CPU microseconds an event. `base` and `this` name the builds."""

    base: str
    this: str
    turns: int
    machine: dict[str, str]
    figures: list[Figure]
    notes: list[str]

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")

    def print(self, console: Console) -> None:
        console.print(*[f"{name}: {value}" for name, value in self.machine.items()], sep="\n", highlight=False)
        console.print(f"base: {self.base}\nthis: {self.this}", highlight=False)
        table = Table(title=f"CPU µs an event, {self.turns} turns of each build", title_justify="left")
        table.add_column("figure")
        for name in (
            "base, median",
            "this, median",
            "ratio of the medians",
            "turns' ratios: quarter, middle, three quarters",
        ):
            table.add_column(name, justify="right")
        for part in dict.fromkeys(figure.part for figure in self.figures):
            table.add_section()
            table.add_row(f"[bold]{part}. {TITLES[part]}")
            for figure in self.figures:
                if figure.part == part:
                    table.add_row(*_cells(figure))
        console.print(table)
        for note in self.notes:
            console.print(f"note: {note}", highlight=False)


def _cells(figure: Figure) -> list[str]:
    return [
        figure.name,
        f"{figure.base_median:.3f}",
        f"{figure.this_median:.3f}",
        f"{figure.ratio:.3f}",
        f"{figure.quarter:.3f}  {figure.middle:.3f}  {figure.three_quarters:.3f}",
    ]
