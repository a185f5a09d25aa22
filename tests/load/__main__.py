"""`make load`: the system in containers under load; ends with status 1 where a bar is missed."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tests.load.figures import make_report
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
from tests.load.stack import EDGE, WORKER


def main(
    rate: Annotated[float, typer.Option(help="Events a second.")] = 10_000,
    seconds: Annotated[float, typer.Option(help="How long, warm-up included.")] = 120,
    warm_up: Annotated[float, typer.Option(help="So many seconds at the begin count for no figure.")] = 20,
    query_rate: Annotated[float, typer.Option(help="Queries a second.")] = 0.2,
    repeats: Annotated[float, typer.Option(help="The part of requests that is sent again after its 2xx.")] = 0.01,
    kill: Annotated[bool, typer.Option(help="Kill a worker and an edge on the way.")] = False,
    edges: Edges = 1,
    workers: Workers = 2,
    queries: QueryServices = 1,
    image: Image = "",
    kafka_image: KafkaImage = "",
    clickhouse_image: ClickHouseImage = "",
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Where the report goes.")] = Path(".data/load"),
) -> None:
    """Start the system in containers, send to it like producers, and prove what it did."""
    options = options_of(edges, workers, queries, image, kafka_image, clickhouse_image)
    with session(options, folder) as stack:
        plan = plan_of(stack, rate, seconds, seed, repeats, query_rate)
        wishes = Wishes(warm_up_s=warm_up, kill=[WORKER, EDGE] if kill else [])
        happened = run(stack, plan, wishes, folder, console)
        report = make_report(happened, describe(stack), {"command": " ".join(sys.argv[1:]) or "defaults"})
    write_report(report, folder)
    print_report(report, console)
    console.print(f"report: {folder / 'report.html'}, {folder / 'report.json'}", highlight=False)
    if not report.passed:
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
