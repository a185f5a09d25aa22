"""`make soak`: a steady load for hours; memory, disk, freshness, parts and query times by interval."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from tests.load.figures import Series, make_report
from tests.load.intervals import Interval, cut
from tests.load.report import print_report, write_report
from tests.load.run import Wishes, describe, run
from tests.load.session import (
    ClickHouseImage,
    Edges,
    Image,
    KafkaImage,
    QueryServices,
    Seed,
    Workers,
    console,
    options_of,
    plan_of,
    session,
)
from tests.load.store import StoreSampler

_SAMPLES = 600
_MOST_INTERVALS = 12


def main(
    hours: Annotated[float, typer.Option(help="How long.")] = 2,
    rate: Annotated[float, typer.Option(help="Events a second.")] = 2000,
    intervals: Annotated[int, typer.Option(help="Rows of the table; 0: one an hour, at least 6.")] = 0,
    repeats: Annotated[float, typer.Option(help="The part of requests that is sent again after its 2xx.")] = 0.1,
    query_rate: Annotated[float, typer.Option(help="Queries a second.")] = 0.2,
    dashboard_every: Annotated[float, typer.Option(help="Seconds between two runs of the open dashboard.")] = 15,
    join_rate: Annotated[float, typer.Option(help="Merges and links a second.")] = 1,
    delete_every: Annotated[float, typer.Option(help="Seconds between two deletions of a person.")] = 60,
    edges: Edges = 1,
    workers: Workers = 2,
    queries: QueryServices = 1,
    image: Image = "",
    kafka_image: KafkaImage = "",
    clickhouse_image: ClickHouseImage = "",
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Where the report goes.")] = Path(".data/soak"),
) -> None:
    """Send at a steady rate for hours, and show what grows."""
    seconds = hours * 3600
    options = options_of(edges, workers, queries, image, kafka_image, clickhouse_image)
    with session(options, folder) as stack:
        plan = plan_of(stack, rate, seconds, seed, repeats, query_rate)
        plan.dashboards_s = 1 / dashboard_every
        plan.identities_s = join_rate
        plan.deletions_s = 1 / delete_every
        every_s = max(2.0, seconds / _SAMPLES)
        with StoreSampler(stack, every_s) as store:
            wishes = Wishes(warm_up_s=min(60.0, seconds / 10), every_s=every_s)
            happened = run(stack, plan, wishes, folder, console)
        report = make_report(happened, describe(stack), {"command": " ".join(sys.argv[1:]) or "defaults"})
    rows = cut(happened, store.moments, intervals or min(_MOST_INTERVALS, max(6, round(hours))))
    report.series |= _series(rows)
    (folder / "intervals.json").write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")
    write_report(report, folder)
    print_report(report, console)
    console.print(table(rows))
    console.print(f"merges and links: {happened.told.identities:,}; people deleted: {len(happened.told.gone)}")
    console.print(f"report: {folder / 'report.html'}, {folder / 'intervals.json'}", highlight=False)
    if not report.passed:
        raise SystemExit(1)


def table(rows: Sequence[Interval]) -> Table:
    """A row a figure, a column an interval: so a line is read from left to right, and is flat or not."""
    shown = Table("", *[f"{row.begins_s / 60:.0f} min" for row in rows], title="By interval", title_justify="left")
    for column in shown.columns[1:]:
        column.justify = "right"
    for name, values in figures(rows).items():
        shown.add_row(name, *["" if value is None else f"{value:,.4g}" for value in values])
    return shown


def figures(rows: Sequence[Interval]) -> dict[str, list[float | None]]:
    """Each figure over the intervals."""
    found: dict[str, list[float | None]] = {
        "events/s": [row.accepted_s for row in rows],
        "bytes an event on disk": [row.bytes_an_event for row in rows],
        "parts": [row.parts for row in rows],
        "mutations under way": [row.mutations for row in rows],
    }
    for title, of in (
        ("2xx to visible, ms,", "visible_ms"),
        ("query, ms,", "query_ms"),
        ("MiB", "mib"),
        ("cores", "cores"),
    ):
        for name in sorted({name for row in rows for name in getattr(row, of)}):
            found[f"{title} {name}"] = [getattr(row, of).get(name) for row in rows]
    return found


def _series(rows: Sequence[Interval]) -> dict[str, Series]:
    begins = [row.begins_s for row in rows]
    kinds = sorted({kind for row in rows for kind in row.query_ms})
    return {
        "query times": Series(
            seconds=begins, values={kind: [row.query_ms.get(kind, float("nan")) for row in rows] for kind in kinds}
        ),
        "bytes an event": Series(seconds=begins, values={"bytes": [row.bytes_an_event or 0.0 for row in rows]}),
        "parts": Series(seconds=begins, values={"parts": [float(row.parts or 0) for row in rows]}),
    }


if __name__ == "__main__":
    typer.run(main)
