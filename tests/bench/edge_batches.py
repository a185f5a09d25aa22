"""Part 1: the edge on one core, batches of 1000; beside it the limit, the no-op route, and the naive design."""

import asyncio
import os
import subprocess
import sys

import msgspec

from services.devstack.child_process import free_port
from tests.bench.load import LoadPlan
from tests.bench.loading import Measured, measure_load
from tests.bench.plan import Plan
from tests.bench.processes import pin
from tests.bench.results import Bar, Results, Row
from tests.bench.stack import Pipeline, Stack, answers
from tests.bench.topic import count_topic

PART = 1
EVENTS = 1000
CONNECTIONS = 16
ENCODINGS = ("plain", "gzip")
_CALL = "/v1/analytics/batch"


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    stack.use_second_core()
    seconds = 1 if plan.quick else 3
    limits = [measure_limit(stack, seconds)]
    edges: dict[str, Row] = {}
    for encoding in ENCODINGS:
        noop, naive, edge = (kind(stack, plan, encoding) for kind in (_noop, _naive, _edge))
        edge.ratios = {
            "times naive": naive.cpu_us["edge"] / edge.cpu_us["edge"],
            "times naive, wall": edge.rate / naive.rate,
        }
        edges[encoding] = edge
        results.rows += [noop, naive, edge]
        limits.append(measure_limit(stack, seconds))
    # A machine's speed changes within minutes. The fastest of the limits counts, which favours nobody but them.
    limit = {name: min(measured[name] for measured in limits) for name in limits[0]}
    for encoding, edge in edges.items():
        results.rows.append(_limit_row(limit, encoding))
        edge.ratios["of the limit"] = limit[encoding] / edge.cpu_us["edge"]
        edge.ratios["of the limit, wall"] = edge.rate * limit[encoding] / 1e6
    plain = edges["plain"]
    results.bars += [
        Bar(name="edge, plain batches: part of the limit, CPU", wanted=0.3, got=plain.ratios["of the limit"]),
        Bar(name="edge, plain batches: times the naive design, CPU", wanted=8, got=plain.ratios["times naive"]),
        Bar(name="edge, plain batches: events/s a core", wanted=500_000, got=plain.more["events/s a core"]),
    ]


def measure_limit(stack: Stack, seconds: float) -> dict[str, float]:
    """CPU microseconds an event by encoding, in a process on the first core."""
    command = [sys.executable, "-m", "tests.bench.limit", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603
    pin(process.pid, {stack.cores[0]})
    out, _ = process.communicate(timeout=60 + 10 * seconds)
    return msgspec.json.decode(out, type=dict[str, float])


def _limit_row(limit: dict[str, float], encoding: str) -> Row:
    return Row(
        part=PART,
        name=f"limit, {encoding}",
        rate=1e6 / limit[encoding],
        cpu_us={"limit": limit[encoding]},
        more={
            "decode alone, events/s": 1e6 / limit["decode"],
            "bytes an event": limit["event_bytes" if encoding == "plain" else "packed_bytes"],
        },
        how="python -m tests.bench.limit: decode with the contract's types, hash the key, write the lines",
    )


def _noop(stack: Stack, plan: Plan, encoding: str) -> Row:
    os.environ.update(BENCH_KIND="starlette", BENCH_ACCEPTED=str(EVENTS))
    with stack.pipeline("noop") as pipeline:
        port = free_port()
        pipeline.start_module("edge", "tests.bench.noop_server", port=port, cores={stack.cores[0]})
        return batch_row(f"no-op Starlette route, {encoding}", pipeline, port, plan, encoding, count=False)


def _naive(stack: Stack, plan: Plan, encoding: str) -> Row:
    with stack.pipeline("naive") as pipeline:
        port = free_port()
        pipeline.start_module("edge", "tests.bench.peers.naive_edge", port=port, cores={stack.cores[0]})
        return batch_row(f"naive edge, {encoding}", pipeline, port, plan, encoding)


def _edge(stack: Stack, plan: Plan, encoding: str) -> Row:
    with stack.pipeline("edge") as pipeline:
        port = pipeline.start_edge(cores={stack.cores[0]})
        return batch_row(f"edge, {encoding}", pipeline, port, plan, encoding)


def batch_row(
    name: str, pipeline: Pipeline, port: int, plan: Plan, encoding: str, *, count: bool = True, events: int = EVENTS
) -> Row:
    """Load the server that the pipeline has as `edge`, read the topic back, and put a row together."""
    load = LoadPlan(
        port=port,
        path=_CALL,
        key=pipeline.key,
        events=events,
        gzip=encoding == "gzip",
        connections=CONNECTIONS,
        templates=max(4, min(200, 40_000 // events)),
    )
    if not answers(port, "/health/live"):
        raise RuntimeError(f"{name} does not answer")
    measured = measure_load(
        load,
        {"edge": pipeline.children["edge"].pid, **pipeline.stack.pids},
        cores={pipeline.stack.cores[1]},
        warm_up_s=plan.warm_up_s,
        seconds=plan.edge_s,
        per_request=False,
    )
    row = edge_row(PART, name, measured)
    row.how = f"{CONNECTIONS} connections, {events} events a request, {plan.edge_s:g} s, server on core {pipeline.stack.cores[0]}"
    if count:
        row.checked = check_topic(pipeline, measured.accepted, row)
    return row


def edge_row(part: int, name: str, measured: Measured) -> Row:
    return Row(
        part=part,
        name=name,
        rate=measured.events_s,
        cpu_us=measured.cpu_us,
        latencies_ms=measured.latencies_ms,
        rss_mib={"edge": measured.usage.rss_mib["edge"]},
        more={
            "events/s a core": 1e6 / measured.cpu_us["edge"],
            **{f"{process} busy": part for process, part in measured.busy.items()},
        },
    )


def check_topic(pipeline: Pipeline, accepted: int, row: Row, slack: int = 0) -> str:
    """Raises RuntimeError when the topic does not hold what was accepted. `slack`: answers that nobody waited for."""
    count = asyncio.run(count_topic(pipeline.kafka.kafka_bootstrap, pipeline.events_topic, pipeline.partitions))
    if not accepted <= count.events <= accepted + slack:
        raise RuntimeError(f"{row.name}: {accepted} accepted, {count.events} in the topic")
    row.more["events a record"] = count.events / max(1, count.records)
    row.more["bytes a record"] = count.value_bytes / max(1, count.records)
    return f"{count.events:,} in the topic of {accepted:,} accepted"
