"""Where the CPU time of the edge or the worker goes: `python -m tests.bench.hot_spots edge-batches|edge-singles|
worker-batches|worker-singles`. Prints CPU microseconds an event by layer and by function; nothing in services/ knows.
"""

import os
import sys
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.bench.edge_singles import CONNECTIONS
from tests.bench.fill import fill_by_edge, fill_with_records
from tests.bench.load import LoadPlan
from tests.bench.loading import RunningLoad
from tests.bench.processes import cpu_seconds
from tests.bench.sampled_service import BEGIN, WRITE
from tests.bench.stack import Pipeline, Stack
from tests.bench.worker_drain import inserts_of, swallowing_sink

_WARM_UP_S = 2.0
_BATCH_EVENTS = 2_000_000
_SINGLE_EVENTS = 300_000
# As the edge makes them over 64 connections and 8 partitions.
_SINGLE_SIZES = [3, 4, 4, 5]
_TIMEOUT_S = 300
# What is on nearly every stack says nothing.
_EVERYWHERE = 0.97
# The first match from the innermost frame outwards names the layer.
_LAYERS = (
    "services/edge/intake",
    "services/edge/event_log",
    "services/edge/http",
    "services/edge",
    "services/worker/dedupe",
    "services/worker/events",
    "services/worker",
    "services/contract",
    "services/runtime",
    "prometheus_client",
    "clickhouse_connect",
    "aiohttp",
    "aiokafka",
    "faust",
    "mode",
    "starlette",
    "uvicorn",
    "asyncio",
)


class What(StrEnum):
    EDGE_BATCHES = "edge-batches"
    EDGE_SINGLES = "edge-singles"
    WORKER_BATCHES = "worker-batches"
    WORKER_SINGLES = "worker-singles"


def main(
    what: What,
    seconds: Annotated[
        float, typer.Option(help="How long the edge is watched; the worker until its topic is empty.")
    ] = 10,
    keep: Annotated[Path | None, typer.Option(help="Keep the stacks here, for a flame graph.")] = None,
) -> None:
    """Show where the CPU time goes."""
    with Stack() as stack, stack.pipeline("hot") as pipeline:
        file = keep or stack.scratch / "stacks"
        if what in (What.EDGE_BATCHES, What.EDGE_SINGLES):
            us = _watch_edge(pipeline, what, seconds, file)
        else:
            us = _watch_worker(pipeline, what, file)
        show(file, us, what)


def _watch_edge(pipeline: Pipeline, what: What, seconds: float, file: Path) -> float:
    stack = pipeline.stack
    stack.use_second_core()
    command = [sys.executable, "-m", "tests.bench.sampled_service", str(file), "edge"]
    port = pipeline.start_edge(cores={stack.cores[0]}, command=command)
    batches = what is What.EDGE_BATCHES
    plan = LoadPlan(
        port=port,
        path="/v1/analytics/batch" if batches else "/v1/analytics/track",
        key=pipeline.key,
        events=1000 if batches else 0,
        connections=16 if batches else CONNECTIONS,
        seconds=_WARM_UP_S + seconds,
    )
    pid = pipeline.children["edge"].pid
    with RunningLoad(plan, {stack.cores[1]}) as load:
        time.sleep(_WARM_UP_S)
        os.kill(pid, BEGIN)
        cpu, events = cpu_seconds(pid), load.latest.events
        time.sleep(seconds - 0.5)
        cpu, events = cpu_seconds(pid) - cpu, load.latest.events - events
        _write(pid, file)
        load.wait(60)
    return cpu / events * 1e6


def _watch_worker(pipeline: Pipeline, what: What, file: Path) -> float:
    stack = pipeline.stack
    stack.share_cores()
    if what is What.WORKER_BATCHES:
        total = fill_by_edge(pipeline, _BATCH_EVENTS)
    else:
        total = fill_with_records(pipeline, _SINGLE_EVENTS, _SINGLE_SIZES)
    stack.use_second_core()
    command = [sys.executable, "-m", "tests.bench.sampled_service", str(file), "worker"]
    deadline = time.monotonic() + _TIMEOUT_S
    with swallowing_sink(pipeline) as url:
        pipeline.start_worker(cores={stack.cores[0]}, command=command, env={"HEADRACE_CLICKHOUSE_URL": url})
        pid = pipeline.children["worker"].pid
        first = 0
        while (rows := sum(i.rows for i in inserts_of(url))) < total:
            if rows and not first:
                os.kill(pid, BEGIN)
                cpu, first = cpu_seconds(pid), rows
            if time.monotonic() > deadline:
                raise RuntimeError(f"{rows} of {total} events: {pipeline.children['worker'].log_tail()}")
            time.sleep(0.1)
        cpu = cpu_seconds(pid) - cpu
        _write(pid, file)
    return cpu / (total - first) * 1e6


def _write(pid: int, file: Path) -> None:
    os.kill(pid, WRITE)
    deadline = time.monotonic() + 30
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def show(file: Path, us: float, what: str) -> None:
    """`us`: CPU microseconds an event of the whole process, other threads included."""
    layers, own, inclusive, total = fold(file.read_text())
    for name in [name for name, spent in inclusive.items() if spent > _EVERYWHERE * total]:
        del inclusive[name]
    out = Console()
    out.print(f"{what}: {us:.2f} CPU µs an event in all threads; the main thread's share:", highlight=False)
    for title, counts, rows in (
        ("layer", layers, 20),
        ("function, own", own, 25),
        ("with all it calls", inclusive, 40),
    ):
        table = Table("% ", title, title_justify="left")
        for name, seconds in counts.most_common(rows):
            table.add_row(f"{seconds / total * 100:.1f}", name)
        out.print(table)


def fold(text: str) -> tuple[Counter[str], Counter[str], Counter[str], float]:
    """Time by layer, by the innermost function, by each function on the stack; and in all."""
    layers: Counter[str] = Counter()
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, spent = line.rpartition(" ")
        frames = stack.split(";")
        layers[_layer_of(frames)] += int(spent)
        own[frames[-1]] += int(spent)
        inclusive.update(dict.fromkeys(frames, int(spent)))
    return layers, own, inclusive, max(1.0, float(sum(own.values())))


def _layer_of(frames: list[str]) -> str:
    for frame in reversed(frames):
        for layer in _LAYERS:
            if f"({layer}" in frame:
                return layer
    return "event loop"


if __name__ == "__main__":
    typer.run(main)
