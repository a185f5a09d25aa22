"""A pipeline under load from end to end: what goes in, what is stored, what waits between, and what it costs."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import numpy as np
from msgspec import Struct

from tests.bench.load import LoadPlan
from tests.bench.loading import RunningLoad
from tests.bench.processes import Usage, cpu_us_per, usage_of
from tests.bench.stack import Pipeline

CONNECTIONS = 8
_EVENTS = 1000
_SAMPLE_S = 0.5
_SETTLE_S = 2.0
_DRAIN_S = 240
_MAX_GROWTH = 0.03
_MIN_ACHIEVED = 0.97
_ROWS = "headrace_worker_rows_total"

R = TypeVar("R")


class Capacity(Struct, kw_only=True):
    """As fast as it takes them, until all are stored. `rate`: events over the whole time."""

    rate: float
    accepted: int
    accept_s: float
    total_s: float
    cpu_us: dict[str, float]
    rss_mib: dict[str, float]


class Moment(Struct, kw_only=True):
    """Counts since the start of the run."""

    at: float
    accepted: float
    stored: float
    usage: Usage
    index_mib: float = 0


class Sustained(Struct, kw_only=True):
    """A run at a fixed rate. `growth`: by what part of the rate the backlog grew; it holds when that is next to none."""

    rate: float
    accepted_s: float
    growth: float
    backlog: float
    cpu_us: dict[str, float]
    latencies_ms: dict[str, float]
    moments: list[Moment]
    accepted: int

    @property
    def holds(self) -> bool:
        return self.growth <= _MAX_GROWTH and self.accepted_s >= _MIN_ACHIEVED * self.rate


def batch_load(pipeline: Pipeline, port: int) -> LoadPlan:
    return LoadPlan(
        port=port, path="/v1/analytics/batch", key=pipeline.key, events=_EVENTS, connections=CONNECTIONS, templates=100
    )


def find_capacity(pipeline: Pipeline, port: int, seconds: float, *, requests: int = 1 << 60) -> Capacity:
    """Closed loop for some seconds (at most so many requests), then wait until all of it is stored."""
    plan = batch_load(pipeline, port)
    plan.seconds, plan.requests = seconds, requests
    stored = pipeline.stored_rows()
    with RunningLoad(plan, set(pipeline.stack.cores)) as load:
        watched = {**pipeline.pids, **pipeline.stack.pids}
        before = usage_of(watched)
        started, prepared = time.monotonic(), usage_of({"load": load.pid})
        loader = prepared
        while not load.has_ended:
            time.sleep(0.05)
            loader = _usage_or(load.pid, loader)
        accepted = load.wait(60).events
        accept_s = time.monotonic() - started
    pipeline.wait_until_stored(stored + accepted, _DRAIN_S)
    total_s = time.monotonic() - started
    after = usage_of(watched)
    return Capacity(
        rate=accepted / total_s,
        accepted=accepted,
        accept_s=accept_s,
        total_s=total_s,
        cpu_us={**cpu_us_per(before, after, accepted), **cpu_us_per(prepared, loader, accepted)},
        rss_mib=after.rss_mib,
    )


def sustain(
    pipeline: Pipeline, port: int, rate: float, seconds: float, beside: Callable[[], R] | None = None
) -> tuple[Sustained, R | None]:
    """Send at a rate; `beside` runs at the same time, in this thread. Afterwards all is stored."""
    workers = [name for name in pipeline.children if name.startswith("worker")]
    stored_0 = _stored(pipeline, workers)
    plan = batch_load(pipeline, port)
    plan.rate, plan.seconds = rate / _EVENTS, seconds
    moments: list[Moment] = []
    with RunningLoad(plan, set(pipeline.stack.cores)) as load, Sampler(pipeline, load, workers, stored_0) as sampler:
        result = beside() if beside is not None else None
        last = load.wait(seconds + 90)
        moments = sampler.moments
    deadline = time.monotonic() + _DRAIN_S
    while _stored(pipeline, workers) - stored_0 < last.events:
        pipeline.check_alive()
        if time.monotonic() > deadline:
            raise RuntimeError("what was accepted is not stored")
        time.sleep(0.2)
    return _sustained(rate, moments, last.events, last.latencies_ms), result


class Sampler:
    """A thread that takes a Moment twice a second for as long as the load runs. A context manager."""

    def __init__(self, pipeline: Pipeline, load: RunningLoad, workers: Sequence[str], stored_0: float) -> None:
        self._pipeline, self._load, self._workers, self._stored_0 = pipeline, load, workers, stored_0
        self.moments: list[Moment] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_S) and not self._load.has_ended:
            counts = [self._pipeline.metrics(w, _ROWS, "headrace_worker_index_bytes") for w in self._workers]
            stored, index = (sum(values) for values in zip(*counts, strict=True))
            try:
                usage = usage_of({**self._pipeline.pids, **self._pipeline.stack.pids, "load": self._load.pid})
            except OSError:
                return  # the load generator has just ended
            self.moments.append(
                Moment(
                    at=time.monotonic(),
                    accepted=self._load.latest.events,
                    stored=stored - self._stored_0,
                    usage=usage,
                    index_mib=index / 2**20,
                )
            )


def _stored(pipeline: Pipeline, workers: Sequence[str]) -> float:
    return sum(pipeline.metric(worker, _ROWS) for worker in workers)


def _sustained(rate: float, moments: list[Moment], accepted: int, latencies_ms: dict[str, float]) -> Sustained:
    settled = [m for m in moments if m.at > moments[0].at + _SETTLE_S] or moments
    first, last = settled[0], settled[-1]
    times = np.array([m.at - first.at for m in settled])
    backlog = np.array([m.accepted - m.stored for m in settled])
    slope = float(np.polyfit(times, backlog, 1)[0]) if len(settled) > 3 else float("inf")
    events = last.accepted - first.accepted
    return Sustained(
        rate=rate,
        accepted_s=events / max(1e-9, last.at - first.at),
        growth=slope / rate,
        backlog=float(backlog[-1]),
        cpu_us=cpu_us_per(first.usage, last.usage, events),
        latencies_ms=latencies_ms,
        moments=moments,
        accepted=accepted,
    )


def _usage_or(pid: int, known: Usage) -> Usage:
    try:
        return usage_of({"load": pid})
    except OSError:
        return known
