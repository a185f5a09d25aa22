"""Part 2: the edge on one core, one event a request over 64 connections; beside it bare ASGI and a no-op route."""

import os

from services.devstack.child_process import free_port
from tests.bench.edge_batches import check_topic, edge_row
from tests.bench.load import LoadPlan
from tests.bench.loading import Measured, measure_load
from tests.bench.plan import Plan
from tests.bench.results import Bar, Results, Row
from tests.bench.stack import Pipeline, Stack
from tests.bench.wrk import has_wrk, measure_wrk

PART = 2
CONNECTIONS = 64
_CALL = "/v1/analytics/track"
EDGE = "edge, single events"


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    stack.use_second_core()
    bare, noop = _noop(stack, plan, "bare"), _noop(stack, plan, "starlette")
    with stack.pipeline("singles") as pipeline:
        port = pipeline.start_edge(cores={stack.cores[0]})
        measured = load_singles(pipeline, port, plan)
        edge = _row(EDGE, measured, plan)
        # wrk leaves without waiting for what is under way.
        edge.checked = check_topic(pipeline, measured.accepted, edge, slack=4 * CONNECTIONS if has_wrk() else 0)
    edge.ratios = {
        "of the no-op route": noop.cpu_us["edge"] / edge.cpu_us["edge"],
        "of the no-op route, wall": edge.rate / noop.rate,
        "of bare ASGI": bare.cpu_us["edge"] / edge.cpu_us["edge"],
    }
    results.rows += [bare, noop, edge]
    results.bars.append(
        Bar(name="edge, single events: part of the no-op route, CPU", wanted=0.6, got=edge.ratios["of the no-op route"])
    )


def _noop(stack: Stack, plan: Plan, kind: str) -> Row:
    os.environ.update(BENCH_KIND=kind, BENCH_ACCEPTED="1")
    with stack.pipeline("noop") as pipeline:
        port = free_port()
        pipeline.start_module("edge", "tests.bench.noop_server", port=port, cores={stack.cores[0]})
        name = "bare ASGI, uvicorn" if kind == "bare" else "no-op Starlette route"
        return _row(name, load_singles(pipeline, port, plan), plan)


def load_singles(pipeline: Pipeline, port: int, plan: Plan) -> Measured:
    """Single events for the time of an edge run, by wrk where there is one."""
    load = LoadPlan(port=port, path=_CALL, key=pipeline.key, events=0, connections=CONNECTIONS)
    pids = {"edge": pipeline.children["edge"].pid, **pipeline.stack.pids}
    cores = {pipeline.stack.cores[1]}
    if has_wrk():
        measured = measure_wrk(load, pids, cores=cores, seconds=plan.warm_up_s)
        warmed = measured.accepted
        measured = measure_wrk(load, pids, cores=cores, seconds=plan.edge_s)
        measured.accepted += warmed
        return measured
    return measure_load(load, pids, cores=cores, warm_up_s=plan.warm_up_s, seconds=plan.edge_s, per_request=True)


def _row(name: str, measured: Measured, plan: Plan) -> Row:
    row = edge_row(PART, name, measured)
    row.rate, row.unit = measured.requests_s, "requests/s"
    row.more["requests/s a core"] = row.more.pop("events/s a core")
    generator = "wrk -t1" if has_wrk() else "own load generator"
    row.how = f"{generator}, {CONNECTIONS} connections, POST {_CALL}, {plan.edge_s:g} s"
    return row
