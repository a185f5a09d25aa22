"""Part 5: the peers end to end, beside Headrace in the same run and on the same two cores."""

import sys
from statistics import mean

from msgspec import Struct

from services.devstack.child_process import free_port
from tests.bench.end_to_end import start_services
from tests.bench.flow import CONNECTIONS, find_capacity
from tests.bench.plan import Plan
from tests.bench.results import Bar, Results, Row
from tests.bench.stack import Pipeline, Stack, answers, bench_python

PART = 5
# A peer that takes thousands of events a second needs no million of them.
_PEER_REQUESTS = 150
_QUICK_REQUESTS = 60


class Peer(Struct, frozen=True):
    """Two programs of tests/bench/peers; `own` when they need the interpreter that has their libraries."""

    name: str
    edge: str
    worker: str
    own: bool = False
    dedupes: bool = True


PEERS = (
    Peer("naive design", "naive_edge", "naive_worker"),
    Peer("Quix Streams", "naive_edge", "quix_worker", own=True),
    Peer("FastStream", "faststream_app", "faststream_app", own=True, dedupes=False),
)


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    """Headrace before and after the peers: what else happens on the machine must not choose the winner."""
    stack.share_cores()
    ours = [_headrace(stack, plan)]
    peers = []
    for peer in PEERS:
        python = bench_python() if peer.own else sys.executable
        if python is None:
            results.notes.append(f"{peer.name} was left out: .venv-bench is not there (make bench sets it up)")
        else:
            peers.append(_peer(stack, plan, peer, python))
    ours.append(_headrace(stack, plan))
    ours[1].name += ", again"
    rate = mean(row.rate for row in ours)
    cpu_us = mean(row.more["µs in all"] for row in ours)
    for row in peers:
        row.ratios = {
            "Headrace is faster, times": rate / row.rate,
            "Headrace needs less CPU, times": row.more["µs in all"] / cpu_us,
        }
    results.rows += [*ours, *peers]
    if peers:
        fastest, leanest = max(row.rate for row in peers), min(row.more["µs in all"] for row in peers)
        results.bars += [
            Bar(name="end to end: times the best peer", wanted=3, got=rate / fastest),
            Bar(name="end to end: times the best peer, CPU", wanted=3, got=leanest / cpu_us),
        ]


def _headrace(stack: Stack, plan: Plan) -> Row:
    with stack.pipeline("ours") as pipeline:
        return _run(pipeline, start_services(pipeline), "Headrace", plan, requests=1 << 60)


def _peer(stack: Stack, plan: Plan, peer: Peer, python: str) -> Row:
    with stack.pipeline("peer") as pipeline:
        port = free_port()
        env = {
            "BENCH_PORT": str(port),
            "BENCH_TOPIC": pipeline.events_topic,
            "BENCH_KEY": pipeline.key,
            "BENCH_STATE_DIR": str(stack.scratch / f"{pipeline.name}-state"),
        }
        for role, program in (("worker", peer.worker), ("edge", peer.edge)):
            interpreter = sys.executable if program.startswith("naive") else python
            ready = (lambda: answers(port, "/health/live")) if role == "edge" else None
            pipeline.start(
                role, [interpreter, "-m", f"tests.bench.peers.{program}"], env={**env, "BENCH_ROLE": role}, ready=ready
            )
        requests = _QUICK_REQUESTS if plan.quick else _PEER_REQUESTS
        find_capacity(pipeline, port, 60, requests=5)  # its consumers are assigned once this is stored
        row = _run(pipeline, port, peer.name, plan, requests=requests)
        if not peer.dedupes:
            row.how += "; it has no store for keys: repeats are left to ReplacingMergeTree"
        return row


def _run(pipeline: Pipeline, port: int, name: str, plan: Plan, requests: int) -> Row:
    before = pipeline.stored()
    capacity = find_capacity(pipeline, port, plan.capacity_s if requests > 1 << 30 else 120, requests=requests)
    stored = pipeline.stored() - before
    if stored != capacity.accepted:
        raise RuntimeError(f"{name}: {capacity.accepted} accepted, {stored} stored")
    return Row(
        part=PART,
        name=name,
        rate=capacity.rate,
        cpu_us=capacity.cpu_us,
        rss_mib=capacity.rss_mib,
        more={
            "µs in all": sum(capacity.cpu_us.values()),
            "seconds to accept": capacity.accept_s,
            "seconds to store": capacity.total_s,
        },
        how=f"closed loop, {CONNECTIONS} connections, batches of 1000, until all is stored",
        checked=f"{stored:,} stored of {capacity.accepted:,} accepted",
    )
