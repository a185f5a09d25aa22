"""Part 1: the edge on one core, batches of 1000; beside it the limit, the no-op route, and the naive design."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from services.devstack.child_process import free_port
from tests.bench.load import LoadPlan
from tests.bench.loading import Measured, measure_load
from tests.bench.plan import Plan
from tests.bench.processes import pin
from tests.bench.results import Bar, Results, Row
from tests.bench.stack import Pipeline, Stack, answers
from tests.bench.topic import count_topic
from tests.bench.turns import best, in_turns

PART = 1
EVENTS = 1000
CONNECTIONS = 16
ENCODINGS = ("plain", "gzip")
_CALL = "/v1/analytics/batch"
_LIMIT_S = 0.7
_NOOP, _NAIVE, _EDGE = "no-op Starlette route", "naive edge", "edge"


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    stack.use_second_core()
    with stack.pipeline("noop") as noop, stack.pipeline("naive") as naive, stack.pipeline("edge") as edge:
        servers = {_NOOP: (noop, start_noop(stack, noop, "starlette", EVENTS))}
        servers[_NAIVE] = naive, _start(stack, naive, "tests.bench.peers.naive_edge")
        servers[_EDGE] = edge, edge.start_edge(cores={stack.cores[0]})
        warmed = {
            name: load_batches(pipeline, port, plan, "plain", plan.warm_up_s).accepted
            for name, (pipeline, port) in servers.items()
        }
        loads: dict[str, Callable[[], Measured]] = {
            f"{name}, {encoding}": partial(load_batches, pipeline, port, plan, encoding)
            for encoding in ENCODINGS
            for name, (pipeline, port) in servers.items()
        }
        limits: list[dict[str, float]] = []
        turns = in_turns(loads, plan.turns, before=lambda: limits.append(measure_limit(stack, _LIMIT_S)))
        rows = {name: _row(name, measured, plan) for name, measured in turns.items()}
        for name, (pipeline, _) in servers.items():
            if name != _NOOP:
                of_server = [f"{name}, {encoding}" for encoding in ENCODINGS]
                accepted = warmed[name] + sum(run.accepted for row in of_server for run in turns[row])
                check_topic(pipeline, accepted, [rows[row] for row in of_server])
    limit_rows = {encoding: _limit_row(limits, encoding) for encoding in ENCODINGS}
    for encoding in ENCODINGS:
        own, naive_row = rows[f"{_EDGE}, {encoding}"], rows[f"{_NAIVE}, {encoding}"]
        limit_us = limit_rows[encoding].cpu_us["limit"]
        own.ratios = {
            "times naive": naive_row.cpu_us["edge"] / own.cpu_us["edge"],
            "times naive, wall": own.rate / naive_row.rate,
            "of the limit": limit_us / own.cpu_us["edge"],
            "of the limit, wall": own.rate * limit_us / 1e6,
        }
    results.rows += [*rows.values(), *limit_rows.values()]
    plain = rows[f"{_EDGE}, plain"]
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


def _limit_row(limits: list[dict[str, float]], encoding: str) -> Row:
    limit = min(limits, key=lambda measured: measured[encoding])
    return Row(
        part=PART,
        name=f"limit, {encoding}",
        rate=1e6 / limit[encoding],
        cpu_us={"limit": limit[encoding]},
        more={
            "decode alone, events/s": 1e6 / limit["decode"],
            "bytes an event": limit["event_bytes" if encoding == "plain" else "packed_bytes"],
        },
        how="python -m tests.bench.limit: decode with the contract's types, hash the key, write the lines; "
        f"the fastest of {len(limits)}",
    )


def start_noop(stack: Stack, pipeline: Pipeline, kind: str, accepted: int) -> int:
    """A route that reads the body and says that so many events were accepted; its port."""
    os.environ.update(BENCH_KIND=kind, BENCH_ACCEPTED=str(accepted))
    return _start(stack, pipeline, "tests.bench.noop_server")


def _start(stack: Stack, pipeline: Pipeline, module: str) -> int:
    port = free_port()
    pipeline.start_module("edge", module, port=port, cores={stack.cores[0]})
    return port


def batch_row(name: str, pipeline: Pipeline, port: int, plan: Plan, encoding: str, events: int) -> Row:
    """Load the server that the pipeline has as `edge`, read the topic back, and put a row together."""
    warmed = load_batches(pipeline, port, plan, encoding, plan.warm_up_s, events)
    turns = [load_batches(pipeline, port, plan, encoding, events=events) for _ in range(plan.turns)]
    row = _row(name, turns, plan, events)
    check_topic(pipeline, warmed.accepted + sum(run.accepted for run in turns), [row])
    return row


def load_batches(
    pipeline: Pipeline, port: int, plan: Plan, encoding: str, seconds: float = 0, events: int = EVENTS
) -> Measured:
    """One turn, or a load of so many seconds, of the server that the pipeline has as `edge`."""
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
        raise RuntimeError(f"the server of {pipeline.name} does not answer")
    return measure_load(
        load,
        {"edge": pipeline.children["edge"].pid, **pipeline.stack.pids},
        cores={pipeline.stack.cores[1]},
        warm_up_s=plan.turn_warm_up_s,
        seconds=seconds or plan.turn_s,
        per_request=False,
    )


def _row(name: str, turns: list[Measured], plan: Plan, events: int = EVENTS) -> Row:
    row = edge_row(PART, name, turns, plan)
    row.how = f"{CONNECTIONS} connections, {events} events a request, {row.how}"
    return row


def edge_row(part: int, name: str, turns: list[Measured], plan: Plan) -> Row:
    measured = best(turns)
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
        how=f"the best of {len(turns)} turns of {plan.turn_s:g} s",
    )


def check_topic(pipeline: Pipeline, accepted: int, rows: Sequence[Row], slack: int = 0) -> None:
    """Raises RuntimeError when the topic does not hold what the rows' loads had accepted in all. `slack`: answers that
    nobody waited for."""
    count = asyncio.run(count_topic(pipeline.kafka.kafka_bootstrap, pipeline.events_topic, pipeline.partitions))
    if not accepted <= count.events <= accepted + slack:
        raise RuntimeError(f"{rows[0].name}: {accepted} accepted, {count.events} in the topic")
    for row in rows:
        row.more["events a record"] = count.events / max(1, count.records)
        row.more["bytes a record"] = count.value_bytes / max(1, count.records)
        row.checked = f"{count.events:,} in the topic of {accepted:,} accepted"
