"""Part 2: the edge on one core, one event a request over 64 connections; beside it bare ASGI and a no-op route."""

from collections.abc import Callable
from functools import partial

from tests.bench.edge_batches import check_topic, edge_row, start_noop
from tests.bench.load import LoadPlan
from tests.bench.loading import Measured, measure_load
from tests.bench.plan import Plan
from tests.bench.results import Bar, Results, Row
from tests.bench.stack import Pipeline, Stack
from tests.bench.turns import best, in_turns
from tests.bench.wrk import has_wrk, measure_wrk

PART = 2
CONNECTIONS = 64
_CALL = "/v1/analytics/track"
EDGE = "edge, single events"
_BARE, _NOOP = "bare ASGI, uvicorn", "no-op Starlette route"


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    stack.use_second_core()
    with stack.pipeline("bare") as bare, stack.pipeline("noop") as noop, stack.pipeline("singles") as edge:
        servers = {_BARE: (bare, start_noop(stack, bare, "bare", 1))}
        servers[_NOOP] = noop, start_noop(stack, noop, "starlette", 1)
        servers[EDGE] = edge, edge.start_edge(cores={stack.cores[0]})
        warmed = {
            name: load_singles(pipeline, port, plan, plan.warm_up_s) for name, (pipeline, port) in servers.items()
        }
        loads: dict[str, Callable[[], Measured]] = {
            name: partial(load_singles, pipeline, port, plan) for name, (pipeline, port) in servers.items()
        }
        turns = in_turns(loads, plan.turns)
        rows = {name: _row(name, measured, plan) for name, measured in turns.items()}
        loaded = [warmed[EDGE], *turns[EDGE]]
        # wrk leaves without waiting for what is under way.
        slack = 2 * CONNECTIONS * len(loaded) if has_wrk() else 0
        own = rows[EDGE]
        check_topic(edge, sum(run.accepted for run in loaded), [own], slack)
    own.ratios = {
        "of the no-op route": rows[_NOOP].cpu_us["edge"] / own.cpu_us["edge"],
        "of the no-op route, wall": own.rate / rows[_NOOP].rate,
        "of bare ASGI": rows[_BARE].cpu_us["edge"] / own.cpu_us["edge"],
    }
    results.rows += rows.values()
    results.bars.append(
        Bar(name="edge, single events: part of the no-op route, CPU", wanted=0.6, got=own.ratios["of the no-op route"])
    )


def load_singles(pipeline: Pipeline, port: int, plan: Plan, seconds: float = 0) -> Measured:
    """One turn, or a load of so many seconds, with single events; by wrk where there is one."""
    load = LoadPlan(port=port, path=_CALL, key=pipeline.key, events=0, connections=CONNECTIONS)
    pids = {"edge": pipeline.children["edge"].pid, **pipeline.stack.pids}
    cores = {pipeline.stack.cores[1]}
    seconds = seconds or plan.turn_s
    if has_wrk():
        return measure_wrk(load, pids, cores=cores, seconds=seconds)
    return measure_load(load, pids, cores=cores, warm_up_s=plan.turn_warm_up_s, seconds=seconds, per_request=True)


def _row(name: str, turns: list[Measured], plan: Plan) -> Row:
    row = edge_row(PART, name, turns, plan)
    row.rate, row.unit = best(turns).requests_s, "requests/s"
    row.more["requests/s a core"] = row.more.pop("events/s a core")
    generator = "wrk -t1" if has_wrk() else "own load generator"
    row.how = f"{generator}, {CONNECTIONS} connections, POST {_CALL}, {row.how}"
    return row
