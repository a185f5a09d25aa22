"""The report of a run: tables for a person, a JSON file for a program, a page with plots."""

from pathlib import Path

import msgspec
import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from tests.bench.results import print_bars
from tests.load.figures import Report, Requests

_TITLES = {
    "rate": "Events accepted a second",
    "visible": "Seconds from 2xx to visible",
    "cores": "Cores by container",
    "memory": "MiB by container",
    "query times": "Queries: ms, median of an interval",
    "bytes an event": "Bytes an event on disk",
    "parts": "Parts of the events table",
}
_HEIGHT = 300


def print_report(report: Report, console: Console) -> None:
    console.print(
        *[f"{name}: {value}" for name, value in (report.machine | report.options).items()], sep="\n", highlight=False
    )
    console.print(_requests_table("Requests: ms from due to 2xx", report.requests))
    if report.queries:
        console.print(_requests_table("Queries: ms to the answer", report.queries))
    console.print(_containers_table(report))
    for line in _lines(report):
        console.print(line, highlight=False)
    print_bars(report.bars, console)


def write_report(report: Report, folder: Path) -> None:
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    plots = [name for name in _TITLES if name in report.series]
    figure = make_subplots(rows=len(plots), cols=1, subplot_titles=[_TITLES[name] for name in plots])
    for row, name in enumerate(plots, 1):
        series = report.series[name]
        for label, values in series.values.items():
            mode = "markers" if name == "visible" else "lines"
            figure.add_trace(go.Scatter(x=series.seconds, y=values, name=label, mode=mode, marker={"size": 3}), row, 1)
        for recovery in report.recoveries:
            figure.add_vline(x=recovery.at_s, line_dash="dot", row=row, col=1)
        figure.update_yaxes(rangemode="tozero", row=row, col=1)
    figure.update_layout(height=_HEIGHT * len(plots), title=f"Headrace under load, {report.machine['at']}")
    figure.write_html(folder / "report.html", include_plotlyjs=True)


def _lines(report: Report) -> list[str]:
    verdict = report.verdict
    statuses = ", ".join(f"{n} x {status or 'no answer'}" for status, n in sorted(report.statuses.items())) or "none"
    lines = [
        f"rate: {report.accepted_s:,.0f} events/s accepted of {report.asked_s:,.0f} asked for; lowest 10 s "
        f"{report.lowest_s:,.0f}; {report.repeats:,} events sent again after their 2xx",
        f"other than 200: {statuses}; queries without an answer: {report.failed_queries}",
        f"2xx to visible, ms, of {report.probes} probes: {_ms(report.visible_ms)}",
        f"events: accepted {verdict.accepted:,}, stored {verdict.stored:,}, lost {verdict.lost}, doubled {verdict.doubled}"
        f"; all stored {report.drained_s:.1f} s after the last request; rows twice until a merge: {verdict.twice_for_a_while:,}",
    ]
    if report.recoveries:
        lines.append(f"2xx to visible in the minute after a kill, ms: {_ms(report.visible_apart_ms)}")
    lines += [
        f"{r.name} killed at {r.at_s:.0f} s: ready after {r.ready_s:.1f} s, all visible after {r.fresh_s:.1f} s"
        for r in report.recoveries
    ]
    return lines + [f"unexpected answer: {text}" for text in report.unexpected]


def _requests_table(title: str, rows: dict[str, Requests]) -> Table:
    table = Table("kind", "requests", "events", "p50", "p90", "p99", "longest", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, row in rows.items():
        times = [f"{row.ms[name]:,.1f}" if row.ms else "" for name in ("p50", "p90", "p99", "longest")]
        table.add_row(kind, f"{row.requests:,}", f"{row.events:,}" if row.events else "", *times)
    return table


def _containers_table(report: Report) -> Table:
    table = Table("container", "cores", "MiB", "most MiB", title="Containers", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, container in report.containers.items():
        table.add_row(name, f"{container.cores:.2f}", f"{container.mib:,.0f}", f"{container.most_mib:,.0f}")
    return table


def _ms(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,.0f}" for name, value in values.items()) or "none"
