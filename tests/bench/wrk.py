"""Single events by wrk, where it is installed: a load generator in C costs less of the second core than ours."""

import math
import random
import shutil
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.bench.events import make_event
from tests.bench.load import LoadPlan
from tests.bench.loading import Measured
from tests.bench.processes import cpu_us_per, pin, usage_of

_SCRIPT = Path(__file__).with_name("track.lua")


class WrkResult(msgspec.Struct):
    requests: int
    seconds: float
    failed: int
    p50: float
    p90: float
    p99: float
    p99_9: float = msgspec.field(name="p99.9")


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def measure_wrk(plan: LoadPlan, pids: Mapping[str, int], *, cores: set[int], seconds: float) -> Measured:
    """One run without a warm-up of its own; CPU time is on one request. Raises RuntimeError when requests failed."""
    seconds = math.ceil(seconds)  # wrk takes whole ones
    event = msgspec.json.encode(make_event(random.Random(3), datetime.now(UTC))).decode()
    before, _, after = event.partition("k" * 32)
    command = ["wrk", "-t1", f"-c{plan.connections}", f"-d{seconds}s", "-s", str(_SCRIPT)]
    command += [f"http://127.0.0.1:{plan.port}{plan.path}", "--", plan.key, before, after]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        pin(process.pid, cores)
        watched = {**pids, "load": process.pid}
        first = usage_of(watched)
        time.sleep(seconds - 0.2)
        last = usage_of(watched)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    line = next((line for line in out.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(f"wrk did not report: {out}")
    result = msgspec.json.decode(line.removeprefix("RESULT "), type=WrkResult)
    if result.failed:
        raise RuntimeError(f"{result.failed} of {result.requests} requests failed")
    rate = result.requests / result.seconds
    wall = seconds - 0.2
    return Measured(
        requests_s=rate,
        events_s=rate,
        cpu_us=cpu_us_per(first, last, rate * wall),
        latencies_ms={"p50": result.p50, "p90": result.p90, "p99": result.p99, "p99.9": result.p99_9},
        usage=last,
        accepted=result.requests,
        busy={name: round((last.cpu_s[name] - first.cpu_s[name]) / wall, 2) for name in watched},
    )
