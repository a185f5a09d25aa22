"""Draws the series of a results file as PNG, by the interpreter that has matplotlib:

`.venv-bench/bin/python -m tests.bench.plots RESULTS.json FOLDER`
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

Points = list[dict[str, float]]


def plot_partitions(points: Points, folder: Path) -> None:
    figure, axes = _axes("End to end on two cores", "partitions", "events/s")
    for workers in sorted({p["workers"] for p in points}):
        chosen = [p for p in points if p["workers"] == workers]
        axes.plot(
            [p["partitions"] for p in chosen],
            [p["events_s"] for p in chosen],
            marker="o",
            label=f"{workers:g} worker{'s' if workers > 1 else ''}",
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, folder / "partitions.png")


def plot_bodies(points: Points, folder: Path) -> None:
    figure, axes = _axes("Edge on one core", "events a request", "events/s")
    axes.loglog([p["events"] for p in points], [p["events_s"] for p in points], marker="o", label="events/s")
    right = axes.twinx()
    right.loglog([p["events"] for p in points], [p["edge_us"] for p in points], "s--", color="tab:red")
    right.set_ylabel("CPU µs an event (dashed)")
    _save(figure, folder / "bodies.png")


def plot_index(points: Points, folder: Path) -> None:
    figure, axes = _axes("Index of event ids, one core", "ids", "lookups/s")
    axes.semilogx([p["ids"] for p in points], [p["lookups_s"] for p in points], marker="o")
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    right.semilogx([p["ids"] for p in points], [p["bytes_an_id"] for p in points], "s--", color="tab:red")
    right.set_ylabel("bytes an id (dashed)")
    right.set_ylim(bottom=0)
    _save(figure, folder / "index.png")


def plot_memory(points: Points, folder: Path) -> None:
    figure, axes = _axes("Memory at half the highest rate", "seconds", "MiB resident")
    for name in [name for name in points[0] if name != "seconds"]:
        axes.plot([p["seconds"] for p in points], [p[name] for p in points], label=name)
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, folder / "memory.png")


PLOTS = {"partitions": plot_partitions, "bodies": plot_bodies, "index": plot_index, "memory": plot_memory}


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    print(path)


if __name__ == "__main__":
    growth = json.loads(Path(sys.argv[1]).read_text())["growth"]
    for name, plot in PLOTS.items():
        if growth.get(name):
            plot(growth[name], Path(sys.argv[2]))
