"""What `make load` and `make soak` have in common: the engine, the images, the stack around a run."""

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from docker.errors import DockerException  # type: ignore[import-untyped]
from rich.console import Console

from tests.load.engine import missing_engine
from tests.load.plan import Plan
from tests.load.run import RunFailedError
from tests.load.stack import EDGE, QUERY, WORKER, Options, Stack, build_image, started_stack

_BUILT = "headrace:load"
console = Console(width=130)

Edges = Annotated[int, typer.Option(min=1)]
Workers = Annotated[int, typer.Option(min=1)]
QueryServices = Annotated[int, typer.Option(min=1, help="Query services.")]
Image = Annotated[str, typer.Option(envvar="LOAD_IMAGE", help="Ours; without it, this tree is built.")]
KafkaImage = Annotated[str, typer.Option(envvar="LOAD_KAFKA_IMAGE", help="Else the one of deploy/compose.yaml.")]
ClickHouseImage = Annotated[
    str, typer.Option(envvar="LOAD_CLICKHOUSE_IMAGE", help="Else the one of deploy/compose.yaml.")
]
Seed = Annotated[int, typer.Option(help="Of sizes and order of requests.")]


def options_of(edges: int, workers: int, queries: int, image: str, kafka: str, clickhouse: str) -> Options:
    return Options({EDGE: edges, WORKER: workers, QUERY: queries}, image, kafka, clickhouse)


def plan_of(stack: Stack, rate: float, seconds: float, seed: int, repeats: float, query_rate: float) -> Plan:
    """What all runs send; more is added to it."""
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


@contextmanager
def session(options: Options, folder: Path) -> Iterator[Stack]:
    """The stack of a run. What goes wrong in it ends the program, and says why."""
    if missing := missing_engine():
        console.print(missing, highlight=False)
        raise SystemExit(2)
    signal.signal(signal.SIGTERM, _end)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not options.image:
            console.print(f"building {_BUILT}")
            build_image(_BUILT)
            options.image = _BUILT
        console.print("starting containers")
        with started_stack(options) as stack:
            try:
                yield stack
            finally:
                stack.write_logs(folder)
    except (RunFailedError, RuntimeError, OSError, subprocess.CalledProcessError, DockerException) as error:
        console.print(f"failed: {error}", style="red", highlight=False, markup=False)
        raise SystemExit(1) from None


def _end(number: int, frame: FrameType | None) -> None:
    """The containers are removed on the way out."""
    raise SystemExit(128 + number)
