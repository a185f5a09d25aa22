"""Part 7: batches of Segment's SDKs beside native ones of as many bytes, in turns on one core."""

from functools import partial

from tests.bench.edge_batches import CONNECTIONS, check_topic, edge_row
from tests.bench.load import LoadPlan
from tests.bench.loading import Measured, measure_load
from tests.bench.plan import Plan
from tests.bench.results import Bar, Results
from tests.bench.stack import Pipeline, Stack
from tests.bench.turns import in_turns

PART = 7
EVENTS = 100
_CALLS = {"native": ("/v1/analytics/batch", "context"), "segment": ("/v1/batch", "segment")}


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    stack.use_second_core()
    with stack.pipeline("sdks") as pipeline:
        port = pipeline.start_edge(cores={stack.cores[0]})
        warmed = [_load(pipeline, port, plan, name, plan.warm_up_s) for name in _CALLS]
        turns = in_turns({name: partial(_load, pipeline, port, plan, name) for name in _CALLS}, plan.turns)
        rows = {name: edge_row(PART, f"edge, {name}", measured, plan) for name, measured in turns.items()}
        accepted = sum(run.accepted for run in warmed) + sum(run.accepted for runs in turns.values() for run in runs)
        check_topic(pipeline, accepted, list(rows.values()))
    for row in rows.values():
        row.how = f"{CONNECTIONS} connections, {EVENTS} events a request of some 1.3 KB each, {row.how}"
    part = rows["native"].cpu_us["edge"] / rows["segment"].cpu_us["edge"]
    rows["segment"].ratios = {"of native, CPU": part}
    results.rows += rows.values()
    results.bars.append(Bar(name="edge, Segment batches: part of native events/s a core", wanted=0.6, got=part))


def _load(pipeline: Pipeline, port: int, plan: Plan, name: str, seconds: float = 0) -> Measured:
    path, body = _CALLS[name]
    load = LoadPlan(
        port=port, path=path, key=pipeline.key, events=EVENTS, connections=CONNECTIONS, templates=100, body=body
    )
    return measure_load(
        load,
        {"edge": pipeline.children["edge"].pid, **pipeline.stack.pids},
        cores={pipeline.stack.cores[1]},
        warm_up_s=plan.turn_warm_up_s,
        seconds=seconds or plan.turn_s,
        per_request=False,
    )
