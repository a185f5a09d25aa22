"""A worker with a clock on its steps: `python -m tests.bench.step_clock FILE` runs the worker, nothing in it knows.

The sampled CPU time goes to the step that the innermost known frame belongs to. What other threads used is the
fetching of records (Faust's consumer has a thread of its own). Every tenth of a second the totals go to FILE, a line.
"""

import sys
import time
from pathlib import Path
from types import FrameType
from typing import TextIO

import msgspec
from msgspec import Struct
from prometheus_client import REGISTRY

from services.worker.app import main
from tests.bench.cpu_sampler import CpuSampler

_WRITE_EVERY_S = 0.1
# The first match from the innermost frame outwards: part of the file's path, function ("" for any), step.
_STEPS = (
    ("/worker/dedupe.py", "", "dedupe"),
    ("/worker/stored_ids.py", "", "dedupe"),
    ("/runtime/clickhouse.py", "", "insert"),
    ("/clickhouse_connect/", "", "insert"),
    ("/aiohttp/", "", "insert"),
    ("/asyncio/selector_events.py", "", "insert"),
    ("/asyncio/streams.py", "", "insert"),
    ("/contract/envelope.py", "", "assemble"),
    ("/worker/clickhouse_sink.py", "", "assemble"),
    ("/worker/buffer.py", "", "consume"),
    ("/worker/app.py", "read", "consume"),
    ("/faust/", "", "consume"),
    ("/mode/", "", "consume"),
    ("/aiokafka/", "", "consume"),
)


class StepTotals(Struct):
    """CPU seconds by step since the start, and the events stored."""

    at: float
    events: float
    seconds: dict[str, float]


class StepClock:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._seconds: dict[str, float] = {}
        self._written_at = 0.0
        self._steps: dict[tuple[str, str], str | None] = {}

    def sample(self, frame: FrameType | None, seconds: float) -> None:
        step = self._step_of(frame)
        self._seconds[step] = self._seconds.get(step, 0.0) + seconds
        if time.monotonic() - self._written_at > _WRITE_EVERY_S:
            self._written_at = time.monotonic()
            self._write()

    def _step_of(self, frame: FrameType | None) -> str:
        while frame is not None:
            code = frame.f_code
            place = (code.co_filename, code.co_name)
            if place not in self._steps:
                self._steps[place] = _step(*place)
            found = self._steps[place]
            if found is not None:
                return found
            frame = frame.f_back
        return "event loop"

    def _write(self) -> None:
        events = REGISTRY.get_sample_value("headrace_worker_rows_total") or 0.0
        seconds = {**self._seconds, "fetch": time.process_time() - time.thread_time()}
        self._out.write(msgspec.json.encode(StepTotals(self._written_at, events, seconds)).decode() + "\n")
        self._out.flush()


def _step(file: str, function: str) -> str | None:
    return next((step for path, name, step in _STEPS if path in file and name in ("", function)), None)


def read_steps(path: Path) -> dict[str, float]:
    """CPU microseconds an event by step, between the first tenth of the events and the last line with news."""
    decoder = msgspec.json.Decoder(StepTotals)
    totals = [decoder.decode(line) for line in path.read_text().splitlines()]
    total = totals[-1].events
    first = next(t for t in totals if t.events > total / 10)
    last = next(t for t in totals if t.events == total)
    events = max(1.0, last.events - first.events)
    return {step: (s - first.seconds.get(step, 0.0)) / events * 1e6 for step, s in sorted(last.seconds.items())}


if __name__ == "__main__":
    with Path(sys.argv.pop(1)).open("w") as out:
        CpuSampler(StepClock(out).sample).start()
        main()
