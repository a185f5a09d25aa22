"""Part 4: the whole pipeline on two cores, load generator, broker and engine included."""

import contextlib
from math import inf, sqrt
from pathlib import Path
from statistics import median

from tests.bench.fill import fill_by_edge
from tests.bench.flow import CONNECTIONS, Moment, Sustained, find_capacity, sustain
from tests.bench.plan import Plan
from tests.bench.probes import Probed, Probes
from tests.bench.results import Bar, Results, Row
from tests.bench.stack import Pipeline, Stack, answers

PART = 4
HIGHEST = "highest rate that holds"
CAPACITY = "as fast as it takes them"
_STEP_UP = 1.12
_STEP_DOWN = 0.88
# The search ends when a rate that held and one that did not are as close as this; long runs step down by it.
_APART = 1.03
_STEPS = 8
_LONG_RUNS = 8
_PROBES_S = 5.0
_MERGES_S = 120
_READY_S = 60


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    stack.share_cores()
    with stack.pipeline("flow") as pipeline:
        port = start_services(pipeline)
        # Once for nothing: a broker that has just started spends several times as much on an event.
        find_capacity(pipeline, port, plan.capacity_s)
        capacity = find_capacity(pipeline, port, plan.capacity_s)
        results.rows.append(
            Row(
                part=PART,
                name=CAPACITY,
                rate=capacity.rate,
                cpu_us=capacity.cpu_us,
                rss_mib=capacity.rss_mib,
                more={
                    "µs in all": sum(capacity.cpu_us.values()),
                    "seconds to accept": capacity.accept_s,
                    "seconds to store": capacity.total_s,
                },
                how=f"closed loop, {CONNECTIONS} connections, batches of 1000, {plan.capacity_s:g} s, until all is stored",
                checked=f"{capacity.accepted:,} accepted and stored",
            )
        )
        highest = _find_highest(pipeline, port, capacity.rate, plan)
        results.rows.append(_highest_row(highest, plan))
        # What is asked of half the rate is asked of half the rate, not of what the highest has left.
        pipeline.wait_for_merges(_MERGES_S)
        half, probed = sustain(
            pipeline,
            port,
            highest.rate / 2,
            plan.half_load_s,
            lambda: Probes(pipeline, port, _PROBES_S, plan.half_load_s).run(),
        )
        assert probed is not None
        row = _half_row(half, probed, plan)
        row.checked = check_stored(pipeline)
        results.rows.append(row)
    results.growth["memory"] = _memory(half.moments)
    results.rows.append(_disk_row(stack, plan))
    _hold_against_bars(results, plan, highest, half, probed)


def start_services(pipeline: Pipeline, workers: int = 1) -> int:
    """An edge and some workers on both cores, ready; the edge's port."""
    names = ["worker"] + [f"worker {n}" for n in range(2, workers + 1)]
    for name in names:
        pipeline.start_worker(name=name)
    port = pipeline.start_edge()
    for name in names:
        pipeline.children[name].wait_until(lambda n=name: answers(pipeline.ports[n], "/health/ready"), _READY_S)  # type: ignore[misc]
    return port


def _find_highest(pipeline: Pipeline, port: int, start: float, plan: Plan) -> Sustained:
    """Steps up from near the capacity until one does not hold, or down until one does, then between the two; then the
    long run."""
    rate, held, failed = 0.9 * start, 0.0, inf
    for _ in range(_STEPS):
        run, _none = sustain(pipeline, port, rate, plan.step_s)
        if run.holds:
            held = rate
        else:
            failed = rate
        if held and failed < _APART * held:
            break
        rate = _next_rate(held, failed)
    rate = held or rate
    for _ in range(_LONG_RUNS):
        run, _none = sustain(pipeline, port, rate, plan.sustained_s)
        if run.holds:
            break
        rate /= _APART
    return run


def _next_rate(held: float, failed: float) -> float:
    if not held:
        return failed * _STEP_DOWN
    return held * _STEP_UP if failed == inf else sqrt(held * failed)


def _highest_row(run: Sustained, plan: Plan) -> Row:
    return Row(
        part=PART,
        name=HIGHEST,
        rate=run.accepted_s,
        cpu_us=run.cpu_us,
        latencies_ms=run.latencies_ms,
        rss_mib=run.moments[-1].usage.rss_mib,
        more={
            "holds": float(run.holds),
            "backlog grows, part of the rate": run.growth,
            "backlog at the end": run.backlog,
            "µs in all": sum(run.cpu_us.values()),
            "cores busy": sum(run.cpu_us.values()) * run.accepted_s / 1e6,
        },
        how=f"steps of {plan.step_s:g} s, then {plan.sustained_s:g} s at a fixed rate, batches of 1000, {CONNECTIONS} connections",
        checked=f"{run.accepted:,} accepted and stored",
    )


def _half_row(run: Sustained, probed: Probed, plan: Plan) -> Row:
    return Row(
        part=PART,
        name="half of that",
        rate=run.accepted_s,
        cpu_us=run.cpu_us,
        latencies_ms={
            **{f"2xx to visible {p}": v for p, v in probed.visible_ms.items()},
            **{f"answer to a single event {p}": v for p, v in probed.answer_ms.items()},
        },
        rss_mib=run.moments[-1].usage.rss_mib,
        more={
            "probes": probed.count,
            "probes lost": probed.lost,
            **{f"{name} grew, %": grown for name, grown in _growth(run.moments).items()},
        },
        how=f"{plan.half_load_s:g} s; memory grown from the second fifth of the time to the last, medians, the index of ids aside",
    )


def _growth(moments: list[Moment]) -> dict[str, float]:
    """Percent by which the memory of each process grew; the index of ids is not counted.

    From the median of the second fifth of the time to that of the last: a merge of the engine's comes and goes.
    """
    fifth = max(1, len(moments) // 5)
    early, late = moments[fifth : 2 * fifth] or moments, moments[-fifth:]
    names = moments[-1].usage.rss_mib
    mib = {name: (_median_mib(early, name), _median_mib(late, name)) for name in names}
    return {name: round((after - before) / before * 100, 1) for name, (before, after) in mib.items()}


def _median_mib(moments: list[Moment], name: str) -> float:
    return median(m.usage.rss_mib[name] - (m.index_mib if name == "worker" else 0) for m in moments)


def _memory(moments: list[Moment]) -> list[dict[str, float]]:
    return [{"seconds": round(m.at - moments[0].at, 1), **m.usage.rss_mib, "index": m.index_mib} for m in moments]


def check_stored(pipeline: Pipeline) -> str:
    """Rows and different ids must be the same number: nothing twice, nothing collapsed."""
    rows, ids = pipeline.sql("SELECT count(), uniqExact(event_id) FROM events").split()
    if rows != ids:
        raise RuntimeError(f"{rows} rows of {ids} events")
    return f"{int(rows):,} rows, all different"


def _disk_row(stack: Stack, plan: Plan) -> Row:
    """Events that are all different, through the pipeline: the loads above repeat their bodies under new keys."""
    with stack.pipeline("disk") as pipeline:
        pipeline.start_worker()
        events = fill_by_edge(pipeline, plan.disk_batches * 1000, templates=plan.disk_batches)
        pipeline.wait_until_stored(events, 120)
        sql = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'events' AND database = currentDatabase()"
        before = int(pipeline.sql(sql)) / events
        pipeline.sql("OPTIMIZE TABLE events FINAL")
        after = int(pipeline.sql(sql)) / events
        more = {"bytes an event, as inserted": before, "bytes an event, merged": after}
        log = stack.scratch / "kafka" / "log"
        if log.exists():
            more["bytes an event in Kafka's log"] = _log_bytes(log, pipeline.events_topic) / events
        checked = check_stored(pipeline)
    return Row(part=PART, name="disk", more=more, how=f"{events:,} different events", checked=checked)


def _log_bytes(log: Path, topic: str) -> int:
    total = 0
    for file in log.glob(f"{topic}-*/*.log"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def _hold_against_bars(results: Results, plan: Plan, highest: Sustained, half: Sustained, probed: Probed) -> None:
    results.bars += [
        Bar(name="end to end: events/s that hold", wanted=120_000, got=highest.accepted_s if highest.holds else 0),
        Bar(name="2xx to visible, p99 at half load, ms", wanted=1000, got=probed.visible_ms["p99"], at_most=True),
    ]
    if plan.quick:
        results.notes.append("Memory is not held against its bar: seconds of warming up say nothing of ten minutes.")
        return
    grown = _growth(half.moments)
    results.bars.append(Bar(name="memory of any process grows by, %", wanted=10, got=max(grown.values()), at_most=True))
