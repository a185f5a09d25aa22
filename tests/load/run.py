"""One run: a stack, the producers as a process, probes, samples and kills beside, and the comparison at the end."""

import platform
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import docker  # type: ignore[import-untyped]
import msgspec
from msgspec import Struct
from rich.console import Console

from services.devstack.child_process import ChildProcess
from tests.load.engine import PYTHON
from tests.load.figures import Happened
from tests.load.kills import Killer
from tests.load.plan import Gone, Plan, read
from tests.load.probes import Probes
from tests.load.stack import ROOT, Stack
from tests.load.usage import UsageSampler
from tests.load.verify import count_rows, verify

_DRAIN_S = 240.0
_START_S = 120.0
_SETTLE_S = 2.0
_TELL_EVERY_S = 10.0


class Wishes(Struct, kw_only=True):
    """What a run is asked for besides the plan. `kill`: services of which one container is killed, and is
    started again after `down_s`. CPU and memory are read `every_s`."""

    warm_up_s: float
    kill: list[str] = []
    down_s: float = 3.0
    every_s: float = 2.0


class RunFailedError(Exception):
    """The run could not be brought to its end; the message is for the person who started it."""


def run(stack: Stack, plan: Plan, wishes: Wishes, folder: Path, console: Console) -> Happened:
    """Returns when all that was accepted is stored, or no more of it comes."""
    (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
    with ExitStack() as beside:
        probes = beside.enter_context(Probes(plan.edges, plan.queries, stack.probe_key))
        sampler = beside.enter_context(UsageSampler(stack.containers, wishes.every_s))
        producers = _Producers(folder, console)
        beside.callback(producers.child.kill)
        starts_at = producers.start()
        killer = beside.enter_context(Killer(stack, starts_at, plan.seconds, wishes.down_s, wishes.kill))
        producers.wait(plan.seconds)
        probes.stop_sending()
        sent, told = read(folder)
        _wait_for_deletions(stack, told.gone)
        drained_s = _drain(stack, probes, int(sent.events[sent.answered > 0].sum()))
        found = probes.all
    time.sleep(_SETTLE_S)
    return Happened(
        plan=plan,
        warm_up_s=wishes.warm_up_s,
        sent=sent,
        told=told,
        probes=found,
        kills=killer.kills,
        moments=sampler.moments,
        drained_s=drained_s,
        verdict=verify(stack, sent, told.numbers, told.gone, plan.run),
    )


class _Producers:
    """Their process, and what it says once a second."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._log = folder / "producers.log"
        self._log.unlink(missing_ok=True)
        self._console = console
        command = [str(PYTHON), "-u", "-m", "tests.load.users", str(folder / "plan.json"), str(folder)]
        self.child = ChildProcess("producers", command, log=self._log)

    def start(self) -> float:
        """When the first request is due, roughly: bodies are made, users are there."""
        self.child.start()
        self.child.wait_until(lambda: self._latest() is not None, _START_S)
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Until every request has its 2xx; what was accepted is told on the way."""
        ends_at = time.monotonic() + seconds + _DRAIN_S
        before = self._latest()
        while self.child.poll() is None:
            if time.monotonic() > ends_at:
                raise RunFailedError(f"the producers did not end:\n{self.child.log_tail()}")
            time.sleep(0.5)
            latest = self._latest()
            if latest and before and latest[0] - before[0] >= _TELL_EVERY_S:
                rate = (latest[1] - before[1]) / (latest[0] - before[0])
                self._console.print(f"accepted {latest[1]:,.0f} events, {rate:,.0f}/s", highlight=False)
                before = latest
        if self.child.poll() != 0:
            raise RunFailedError(f"the producers failed:\n{self.child.log_tail()}")

    def _latest(self) -> tuple[float, float] | None:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        for line in reversed(lines):
            at, _, accepted = line.partition(" ")
            if accepted.isdigit():
                return float(at), float(accepted)
        return None


def _drain(stack: Stack, probes: Probes, accepted: int) -> float:
    """Until as many are stored as were accepted, and each probe was seen; seconds."""
    began = time.monotonic()
    while time.monotonic() - began < _DRAIN_S:
        if probes.found_all and count_rows(stack) >= accepted:
            break
        time.sleep(0.5)
    return time.monotonic() - began


def _wait_for_deletions(stack: Stack, gone: Sequence[Gone]) -> None:
    """Until the data of everybody who was deleted are rewritten; what is not then, the comparison shows."""
    ends_at = time.monotonic() + _DRAIN_S
    for person in gone:
        while not stack.is_deleted(person.deletion_id) and time.monotonic() < ends_at:
            time.sleep(1.0)


def describe(stack: Stack) -> dict[str, str]:
    """The machine and what ran, for the head of a report."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    info = docker.from_env().info()
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit.stdout.strip() or "unknown",
        "processor": models[0].partition(": ")[2] if models else platform.machine(),
        "engine": f"Docker {info['ServerVersion']}, {info['NCPU']} cores, {info['MemTotal'] / 2**30:.1f} GiB",
        "clickhouse": stack.sql("SELECT version()").decode().strip(),
        "containers": ", ".join(container.name for container in stack.containers),
        "images": ", ".join(stack.images),
    }
