"""Runs the load generator beside what is measured, and puts its counts and the processes' CPU time together."""

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from tests.bench.load import LoadPlan, LoadReport
from tests.bench.processes import Usage, cpu_us_per, pin, usage_of

_START_S = 60
_END_S = 60
_BURST_S = 120


class RunningLoad:
    """The load generator as a child; its reports as they come. A context manager: ends it, when it has not ended."""

    def __init__(self, plan: LoadPlan, cores: set[int]) -> None:
        self.plan = plan
        self._cores = cores
        self.reports: list[LoadReport] = []
        self._some = threading.Event()

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.bench.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        pin(self._process.pid, self._cores)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(self.plan) + b"\n")
        self._process.stdin.close()
        if not self._some.wait(_START_S):
            self._process.kill()
            raise RuntimeError("the load generator did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        decoder = msgspec.json.Decoder(LoadReport)
        for line in self._process.stdout or ():
            self.reports.append(decoder.decode(line))
            self._some.set()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def latest(self) -> LoadReport:
        return self.reports[-1]

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> LoadReport:
        """Until every request is answered; the last report. Raises RuntimeError when requests were refused."""
        self._process.wait(timeout_s)
        self._reader.join(10)
        last = self.latest
        if not last.last or last.refused or last.statuses:
            raise RuntimeError(f"the load was not taken whole: {last}")
        return last

    def counts_at(self, moment: float) -> tuple[float, float]:
        """(requests, events) answered by a moment, between two reports in proportion."""
        before = max((r for r in self.reports if r.at <= moment), key=lambda r: r.at, default=self.reports[0])
        after = min((r for r in self.reports if r.at >= moment), key=lambda r: r.at, default=self.reports[-1])
        part = (moment - before.at) / (after.at - before.at) if after.at > before.at else 0.0
        return (
            before.requests + part * (after.requests - before.requests),
            before.events + part * (after.events - before.events),
        )


class BurstLoad:
    """A load generator that stays, with its bodies prepared, for one burst after another. A context manager."""

    def __init__(self, plan: LoadPlan, cores: set[int]) -> None:
        self._plan = msgspec.structs.replace(plan, seconds=_BURST_S)
        self._cores = cores
        self._decoder = msgspec.json.Decoder(LoadReport)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.bench.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        pin(self._process.pid, self._cores)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def send(self) -> int:
        """Send the plan's requests; the events accepted. Raises RuntimeError when some were not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(self._plan) + b"\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            report = self._decoder.decode(line)
            if report.last:
                wanted = self._plan.requests * max(1, self._plan.events)
                if report.events != wanted:
                    raise RuntimeError(f"the load was not taken whole: {report.events} of {wanted} events: {report}")
                return report.events
        raise RuntimeError("the load generator ended early")


class Measured(Struct, kw_only=True):
    """One run against a server: rates between warm-up and end, CPU time of each process on one event."""

    requests_s: float
    events_s: float
    cpu_us: dict[str, float]
    latencies_ms: dict[str, float]
    usage: Usage
    accepted: int
    busy: dict[str, float]


def measure_load(
    plan: LoadPlan, pids: Mapping[str, int], *, cores: set[int], warm_up_s: float, seconds: float, per_request: bool
) -> Measured:
    """Loads for `warm_up_s` and then `seconds`; the CPU time is on one request (`per_request`) or one event."""
    plan = msgspec.structs.replace(plan, seconds=warm_up_s + seconds + 0.3)
    with RunningLoad(plan, cores) as load:
        watched = {**pids, "load": load.pid}
        time.sleep(max(0.0, warm_up_s - (time.monotonic() - load.reports[0].at)))
        started, before = time.monotonic(), usage_of(watched)
        time.sleep(seconds)
        ended, after = time.monotonic(), usage_of(watched)
        last = load.wait(_END_S)
        (requests_0, events_0), (requests_1, events_1) = load.counts_at(started), load.counts_at(ended)
    wall = ended - started
    requests, events = requests_1 - requests_0, events_1 - events_0
    return Measured(
        requests_s=requests / wall,
        events_s=events / wall,
        cpu_us=cpu_us_per(before, after, requests if per_request else events),
        latencies_ms=last.latencies_ms,
        usage=after,
        accepted=last.events,
        busy={name: round((after.cpu_s[name] - before.cpu_s[name]) / wall, 2) for name in watched},
    )
