"""Runs one scenario on a stack: load, faults by a seeded schedule, and the comparison at the end."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from services.devstack.child_process import ChildFailedError
from services.operations.dead_letters import read_letters
from tests.fault.faults import Fault
from tests.fault.ledger import Ledger, Outcome
from tests.fault.load import Load, Refusals
from tests.fault.processes import until
from tests.fault.scenarios import Scenario
from tests.fault.scene import Scene
from tests.fault.stack import KEY, Stack
from tests.fault.watch import Watch

_WARM_UP_S = 2.0
_DRAIN_TIMEOUT_S = 90.0
_CATCH_UP_TIMEOUT_S = 120.0
_NO_PROGRESS_S = 45.0


@dataclass
class Report:
    """What a scenario has shown. `faults` is empty when all is well."""

    scenario: str
    seed: int
    outcomes: list[Outcome]
    injected: Counter[str]
    load_s: float
    seconds: float
    refusals: Refusals
    repeats_sent: int
    answers_watched: int
    peak_rss_mib: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """`faults`: how many; `away_s`: how long ClickHouse stays away in the scenario of that name."""

    seed: int
    faults: int
    events_s: int
    away_s: float


async def run_scenario(stack: Stack, scenario: Scenario, plan: Plan) -> Report:
    """Injects the faults, then waits until everything that was accepted is stored, and compares."""
    ledger = Ledger()
    load = Load(ledger, stack.http, stack.edges, KEY, plan.events_s, plan.seed)
    watch = Watch(stack, plan.seed)
    scene = Scene(stack, ledger, load, watch, random.Random(plan.seed), plan.away_s)
    began_at = time.monotonic()
    async with _in_background(load.run()) as sending, _in_background(watch.run()):
        injected = await _inject_all(scenario, scene, plan.faults)
        load_s = time.monotonic() - began_at
        scene.failures += await _drained(sending, load)
        scene.failures += await _caught_up(stack, ledger)
        await watch.walk(time.time() - 3600, time.time() + 3600)
    outcomes, foreign = ledger.compare(*await stack.stored())
    scene.failures += judge(outcomes, foreign, watch, load.refusals)
    letters = await count_dead_letters(stack)
    scene.check(letters == scene.dead_letters, f"{letters} dead letters instead of {scene.dead_letters}")
    return Report(
        scenario=scenario.name,
        seed=plan.seed,
        outcomes=outcomes,
        injected=injected,
        load_s=load_s,
        seconds=time.monotonic() - began_at,
        refusals=load.refusals,
        repeats_sent=ledger.repeats_sent,
        answers_watched=watch.answers,
        peak_rss_mib={s.name: s.peak_rss_bytes >> 20 for s in stack.services},
        notes=_notes(scene),
        failures=scene.failures,
    )


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _inject_all(scenario: Scenario, scene: Scene, count: int) -> Counter[str]:
    """How often each fault was injected. Ends early when one of them finds that something hangs."""
    injected: Counter[str] = Counter()
    await asyncio.sleep(_WARM_UP_S)
    for fault in schedule(scenario, count, scene.rng):
        scene.ledger.enter(fault.name)
        injected[fault.name] += 1
        try:
            await fault.inject(scene)
        except (TimeoutError, RuntimeError, ChildFailedError, aiohttp.ClientError) as error:
            scene.failures.append(f"{fault.name}: {error!r}")
            break
        await asyncio.sleep(scene.rng.uniform(0.2, scenario.pause_s))
    return injected


def _notes(scene: Scene) -> list[str]:
    notes = list(scene.notes)
    if scene.late_rows:
        notes.append(f"{scene.late_rows:,} rows lay there twice for a while")
    if scene.recoveries_s:
        notes.append(f"accepted again at most {max(scene.recoveries_s):.1f} s after Kafka was back")
    return notes + [
        f"{s.name} ended by itself with {s.exits} and was restarted" for s in scene.stack.services if s.exits
    ]


def schedule(scenario: Scenario, count: int, rng: random.Random) -> list[Fault]:
    """Each fault about equally often, in random order; then what comes last."""
    count = min(count, scenario.times or count)
    chosen: list[Fault] = []
    while len(chosen) < count:
        chosen += rng.sample(scenario.faults, len(scenario.faults))
    return [*chosen[:count], *scenario.last]


async def count_dead_letters(stack: Stack) -> int:
    """How many there are, each counted once (DESIGN.md of the worker says when one may be written twice)."""
    letters = {
        (msgspec.json.encode(stored.letter.origin), stored.letter.payload)
        async for stored in read_letters(stack.kafka_settings())
    }
    return len(letters)


def judge(outcomes: list[Outcome], foreign: int, watch: Watch, refusals: Refusals) -> list[str]:
    failures = []
    for outcome in outcomes:
        if not outcome.good:
            failures.append(
                f"{outcome.fault}: lost {outcome.lost}, doubled {outcome.doubled}, wrong content {outcome.wrong}"
            )
    if foreign:
        failures.append(f"{foreign} stored events were never sent")
    if watch.doubled:
        failures.append(f"{len(watch.doubled)} events were seen twice by a query: {sorted(watch.doubled)[:3]}")
    if refusals.without_retry_after:
        failures.append(f"{refusals.without_retry_after} answers with 503 and no Retry-After")
    failures += [f"unexpected answer of the edge: {text}" for text in refusals.unexpected[:5]]
    failures += [f"unexpected answer of the query service: {text}" for text in watch.unexpected[:5]]
    return failures


async def _drained(sending: asyncio.Task[None], load: Load) -> list[str]:
    load.stop()
    done, _ = await asyncio.wait([sending], timeout=_DRAIN_TIMEOUT_S)
    if not done:
        return [f"{load.under_way} requests had no 2xx {_DRAIN_TIMEOUT_S:g} s after the last fault"]
    sending.result()
    return []


async def _caught_up(stack: Stack, ledger: Ledger) -> list[str]:
    """Waits until as many are stored as were accepted. A failure only when nothing moves any more."""
    last, moved_at = -1, time.monotonic()

    async def stored_all() -> bool:
        nonlocal last, moved_at
        try:
            stored = await stack.count_stored()
        except (aiohttp.ClientError, TimeoutError):
            return False
        if stored != last:
            last, moved_at = stored, time.monotonic()
        if time.monotonic() - moved_at > _NO_PROGRESS_S:
            raise TimeoutError(f"{stored} of {ledger.accepted} stored, and no more for {_NO_PROGRESS_S:g} s")
        return stored >= ledger.accepted

    try:
        await until(stored_all, "all accepted events stored", _CATCH_UP_TIMEOUT_S)
    except TimeoutError as error:
        return [str(error)]
    return []
