"""`make load`: the system in containers under load; ends with status 1 where a bar is missed."""

import secrets
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from docker.errors import DockerException  # type: ignore[import-untyped]
from rich.console import Console

from tests.load.engine import missing_engine
from tests.load.figures import make_report
from tests.load.plan import Plan
from tests.load.report import print_report, write_report
from tests.load.run import RunFailedError, Wishes, describe, run
from tests.load.stack import EDGE, QUERY, WORKER, Options, Stack, build_image, started_stack

console = Console(width=130)
_BUILT = "headrace:load"


def main(
    rate: Annotated[float, typer.Option(help="Events a second.")] = 10_000,
    seconds: Annotated[float, typer.Option(help="How long, warm-up included.")] = 120,
    warm_up: Annotated[float, typer.Option(help="So many seconds at the begin count for no figure.")] = 20,
    edges: Annotated[int, typer.Option(min=1)] = 2,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    queries: Annotated[int, typer.Option(min=1, help="Query services.")] = 1,
    query_rate: Annotated[float, typer.Option(help="Queries a second.")] = 0.5,
    repeats: Annotated[float, typer.Option(help="The part of requests that is sent again after its 2xx.")] = 0.01,
    kill: Annotated[bool, typer.Option(help="Kill a worker and an edge on the way.")] = False,
    image: Annotated[str, typer.Option(envvar="LOAD_IMAGE", help="Ours; without it, this tree is built.")] = "",
    kafka_image: Annotated[str, typer.Option(envvar="LOAD_KAFKA_IMAGE", help="Else deploy/compose.yaml's.")] = "",
    clickhouse_image: Annotated[
        str, typer.Option(envvar="LOAD_CLICKHOUSE_IMAGE", help="Else deploy/compose.yaml's.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of sizes and order of requests.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where the report goes.")] = Path(".data/load"),
) -> None:
    """Start the system in containers, send to it like producers, and prove what it did."""
    if missing := missing_engine():
        console.print(missing, highlight=False)
        raise SystemExit(2)
    signal.signal(signal.SIGTERM, _end)
    folder.mkdir(parents=True, exist_ok=True)
    options = Options({EDGE: edges, WORKER: workers, QUERY: queries}, image, kafka_image, clickhouse_image)
    try:
        if not image:
            console.print(f"building {_BUILT}")
            build_image(_BUILT)
            options.image = _BUILT
        console.print("starting containers")
        with started_stack(options) as stack:
            plan = _plan(stack, rate, seconds, query_rate, repeats, seed)
            wishes = Wishes(warm_up_s=warm_up, kill=[WORKER, EDGE] if kill else [])
            happened = run(stack, plan, wishes, folder, console)
            report = make_report(happened, describe(stack), {"command": " ".join(sys.argv[1:]) or "defaults"})
    except (RunFailedError, RuntimeError, DockerException) as error:
        console.print(f"failed: {error}", style="red", highlight=False)
        raise SystemExit(1) from None
    write_report(report, folder)
    print_report(report, console)
    console.print(f"report: {folder / 'report.html'}, {folder / 'report.json'}", highlight=False)
    if not report.passed:
        raise SystemExit(1)


def _plan(stack: Stack, rate: float, seconds: float, query_rate: float, repeats: float, seed: int) -> Plan:
    return Plan(
        edges=stack.urls(EDGE),
        queries=stack.urls(QUERY),
        key=stack.key,
        query_key=stack.query_key,
        rate=rate,
        seconds=seconds,
        run=secrets.randbits(32),
        seed=seed,
        repeats=repeats,
        queries_s=query_rate,
    )


def _end(number: int, frame: FrameType | None) -> None:
    """The containers are removed on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    typer.run(main)
