"""Part 3: the worker on one core, from a full topic into a sink that swallows and into ClickHouse; CPU time by step."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct

from services.devstack.child_process import free_port
from tests.bench.edge_singles import CONNECTIONS
from tests.bench.fill import fill_by_edge, fill_with_records, sizes_of_single_records
from tests.bench.plan import Plan
from tests.bench.processes import Usage, cpu_us_per, usage_of
from tests.bench.results import Bar, Results, Row
from tests.bench.stack import Pipeline, Stack, answers
from tests.bench.step_clock import read_steps
from tests.bench.swallow import Insert

PART = 3
_POLL_S = 0.1
_TIMEOUT_S = 300
_SAMPLE_S = 3


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    with stack.pipeline("batches") as pipeline:
        stack.share_cores()
        events = fill_by_edge(pipeline, plan.worker_batch_events)
        _drain_all(pipeline, events, "batches", "topic filled by the edge from batches of 1000", results)
    stack.use_second_core()
    with stack.pipeline("sample") as pipeline:
        sizes = sizes_of_single_records(pipeline, _SAMPLE_S, CONNECTIONS)
    with stack.pipeline("singles") as pipeline:
        stack.share_cores()
        events = fill_with_records(pipeline, plan.worker_single_events, sizes)
        how = f"records of {sum(sizes) / len(sizes):.1f} events on average, as an edge makes them over {CONNECTIONS} connections"
        _drain_all(pipeline, events, "single events", how, results)
    for shape, wanted in (("batches", 600_000), ("single events", 100_000)):
        row = results.row(_name(shape, "swallowing sink"))
        assert row is not None
        got = row.more["events/s a core"]
        results.bars.append(Bar(name=f"worker, log of {shape}: events/s a core", wanted=wanted, got=got))


def _name(shape: str, sink: str) -> str:
    return f"worker, {shape}, {sink}"


def _drain_all(pipeline: Pipeline, events: int, shape: str, how: str, results: Results) -> None:
    """The three drains of one topic: swallowed, swallowed with the clock on the steps, stored."""
    stack = pipeline.stack
    stack.use_second_core()
    with swallowing_sink(pipeline) as url:
        row = _drain_swallowed(pipeline, url, events)
        row.name, row.how = _name(shape, "swallowing sink"), f"{events:,} events; {how}"
        steps = stack.scratch / f"{pipeline.name}-steps"
        clocked = _drain_swallowed(pipeline, url, events, steps)
        row.more.update({f"{step} µs": us for step, us in read_steps(steps).items()})
        row.more["with the clock, worker µs"] = clocked.cpu_us["worker"]
    stored = _drain_stored(pipeline, events)
    stored.name, stored.how = _name(shape, "ClickHouse"), row.how
    results.rows += [row, stored]


@contextmanager
def swallowing_sink(pipeline: Pipeline) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.swallow"]
    env = {"BENCH_PORT": str(port), "HEADRACE_CLICKHOUSE_URL": pipeline.stack.clickhouse.url}
    cores = {pipeline.stack.cores[1]}
    pipeline.start("sink", command, env=env, cores=cores, ready=lambda: answers(port, "/counts"))
    yield f"http://127.0.0.1:{port}"
    pipeline.stop("sink")


def _drain_swallowed(pipeline: Pipeline, url: str, events: int, steps: Path | None = None) -> Row:
    """The sink's own times of the inserts give the rate: from the end of the first to the end of the last."""
    group = f"{pipeline.name}-{time.monotonic_ns()}"
    env = {"HEADRACE_CLICKHOUSE_URL": url, "HEADRACE_WORKER_GROUP": group}
    before = len(inserts_of(url))
    command: Sequence[str] | None = None
    if steps is not None:
        command = [sys.executable, "-m", "tests.bench.step_clock", str(steps)]
    pipeline.start_worker(cores={pipeline.stack.cores[0]}, command=command, env=env)
    watched = {"worker": pipeline.children["worker"].pid, "sink": pipeline.children["sink"].pid, **pipeline.stack.pids}
    samples: list[_Sample] = []
    deadline = time.monotonic() + _TIMEOUT_S
    while not samples or samples[-1].rows < events:
        time.sleep(_POLL_S)
        inserts = inserts_of(url)[before:]
        samples.append(_Sample(inserts[-1].at if inserts else 0, sum(i.rows for i in inserts), usage_of(watched)))
        pipeline.check_alive()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker stored {samples[-1].rows} of {events}")
    pipeline.stop("worker")
    inserts = inserts_of(url)[before:]
    row = _drained(samples)
    row.rate = (events - inserts[0].rows) / (inserts[-1].at - inserts[0].at)
    row.more["rows an insert"] = events / len(inserts)
    swallowed = sum(i.rows for i in inserts)
    if swallowed != events:
        raise RuntimeError(f"{events} events in the topic, {swallowed} inserted")
    row.checked = f"{swallowed:,} inserted of {events:,}"
    return row


def _drain_stored(pipeline: Pipeline, events: int) -> Row:
    port = pipeline.start_worker(cores={pipeline.stack.cores[0]})
    watched = {"worker": pipeline.children["worker"].pid, **pipeline.stack.pids}
    pipeline.children["worker"].wait_until(lambda: answers(port, "/health/live"), _TIMEOUT_S)
    samples: list[_Sample] = []
    deadline = time.monotonic() + _TIMEOUT_S
    while not samples or samples[-1].rows < events:
        time.sleep(_POLL_S)
        rows = int(pipeline.metric("worker", "headrace_worker_rows_total"))
        samples.append(_Sample(time.monotonic(), rows, usage_of(watched)))
        pipeline.check_alive()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker stored {rows} of {events}")
    row = _drained(samples)
    inserts = pipeline.metric("worker", "headrace_worker_insert_seconds_count")
    row.more["rows an insert"] = events / inserts
    row.more["ms an insert"] = pipeline.metric("worker", "headrace_worker_insert_seconds_sum") / inserts * 1000
    pipeline.stop("worker")
    stored = pipeline.stored()
    if stored != events:
        raise RuntimeError(f"{events} events in the topic, {stored} stored")
    row.checked = f"{stored:,} stored of {events:,}"
    return row


class _Sample(Struct):
    at: float
    rows: int
    usage: Usage


def _drained(samples: list[_Sample]) -> Row:
    """From the first sample with rows to the first with all of them."""
    total = samples[-1].rows
    first = next(s for s in samples if s.rows)
    last = next(s for s in samples if s.rows == total)
    events = max(1, last.rows - first.rows)
    cpu_us = cpu_us_per(first.usage, last.usage, events)
    return Row(
        part=PART,
        name="",
        rate=events / max(1e-9, last.at - first.at),
        cpu_us=cpu_us,
        rss_mib=last.usage.rss_mib,
        more={"events/s a core": 1e6 / cpu_us["worker"]},
    )


def inserts_of(url: str) -> list[Insert]:
    return msgspec.json.decode(httpx.get(f"{url}/counts").content, type=list[Insert])
