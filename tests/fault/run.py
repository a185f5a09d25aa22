"""Runs one scenario on a stack: load, faults by a seeded schedule, and the comparison at the end."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from services.devstack.child_process import ChildFailedError
from services.operations.dead_letters import read_letters
from tests.fault.faults import Fault
from tests.fault.ledger import Ledger, Outcome
from tests.fault.load import Earlier, Load, Refusals
from tests.fault.processes import until
from tests.fault.scenarios import Scenario
from tests.fault.scene import Scene
from tests.fault.stack import Stack
from tests.fault.watch import Watch

_WARM_UP_S = 2.0
_DRAIN_TIMEOUT_S = 360.0
_CATCH_UP_TIMEOUT_S = 480.0
_NO_PROGRESS_S = 120.0
_COMMITTED_WITHIN_S = 120.0
# When all is stored, the last lines of the log may still be repeats.
_SETTLE_S = 2.0


@dataclass
class Injected:
    """How often a fault was brought about, and how long that took in all."""

    times: int = 0
    seconds: float = 0.0


@dataclass
class Report:
    """What a scenario has shown. `faults` is empty when all is well."""

    scenario: str
    seed: int
    outcomes: list[Outcome]
    injected: dict[str, Injected]
    load_s: float
    seconds: float
    refusals: Refusals
    repeats: int
    repeats_long_after: int
    answers_watched: int
    peak_rss_mib: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """At least so many faults a scenario, and more while `seconds` are not over.

    `away_s`: how long ClickHouse stays away in the scenario of that name.
    """

    seed: int
    faults: int
    seconds: float
    events_s: int
    away_s: float


async def run_scenario(stack: Stack, scenario: Scenario, plan: Plan) -> Report:
    """Injects the faults, then waits until everything that was accepted is stored, and compares."""
    await stack.new_project(scenario.name)
    for service in stack.services:
        service.begin()
    ledger = Ledger()
    load = Load(ledger, stack.http, stack.edges, stack.key, plan.events_s, plan.seed, tuple(stack.earlier))
    watch = Watch(stack, plan.seed)
    scene = Scene(stack, ledger, load, watch, random.Random(plan.seed), plan.away_s)
    letters_before = await count_dead_letters(stack)
    began_at = time.monotonic()
    async with _in_background(load.run()) as sending, _in_background(watch.run()):
        injected = await _inject_all(scenario, scene, plan)
        load_s = time.monotonic() - began_at
        scene.failures += await _drained(sending, load)
        scene.failures += await _caught_up(stack, ledger)
        scene.failures += await _committed(stack)
        await asyncio.sleep(_SETTLE_S)
        await watch.walk(time.time() - 3600, time.time() + 3600)
    try:
        outcomes, foreign = ledger.compare(*await stack.stored(stack.project))
        scene.failures += judge(outcomes, foreign, watch, load.refusals)
    except (aiohttp.ClientError, TimeoutError) as error:
        outcomes = []
        scene.failures.append(f"ClickHouse does not say what is stored: {error!r}")
    stack.earlier.append(Earlier(stack.project, stack.key, ledger))
    letters = await count_dead_letters(stack) - letters_before
    scene.check(letters == scene.dead_letters, f"{letters} dead letters instead of {scene.dead_letters}")
    scene.failures += [f"a supervisor of the suite ended: {t.exception()!r}" for t in stack.supervisors if t.done()]
    return Report(
        scenario=scenario.name,
        seed=plan.seed,
        outcomes=outcomes,
        injected=injected,
        load_s=load_s,
        seconds=time.monotonic() - began_at,
        refusals=load.refusals,
        repeats=load.repeats,
        repeats_long_after=load.repeats_long_after,
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


async def _inject_all(scenario: Scenario, scene: Scene, plan: Plan) -> dict[str, Injected]:
    """Ends early when a fault finds that something hangs."""
    injected: dict[str, Injected] = {}
    await asyncio.sleep(_WARM_UP_S)
    began_at = time.monotonic()
    chosen = schedule(scenario, scene.rng)
    count = 0
    while count < plan.faults or time.monotonic() - began_at < plan.seconds:
        if count == scenario.times:
            break
        count += 1
        if not await _inject(next(chosen), scene, injected):
            return injected
        await asyncio.sleep(scene.rng.uniform(0.2, scenario.pause_s))
    for fault in scenario.last:
        if not await _inject(fault, scene, injected):
            break
    return injected


async def _inject(fault: Fault, scene: Scene, injected: dict[str, Injected]) -> bool:
    """False when it did not come to its end."""
    scene.ledger.enter(fault.name)
    done = injected.setdefault(fault.name, Injected())
    began_at = time.monotonic()
    try:
        await fault.inject(scene)
    except (TimeoutError, RuntimeError, ChildFailedError, aiohttp.ClientError) as error:
        scene.failures.append(f"{fault.name}: {error!r}")
        return False
    finally:
        done.times += 1
        done.seconds += time.monotonic() - began_at
    return True


def _notes(scene: Scene) -> list[str]:
    notes = list(scene.notes)
    if scene.late_rows:
        notes.append(f"{scene.late_rows:,} rows lay there twice for a while")
    if scene.recoveries_s:
        notes.append(f"accepted again at most {max(scene.recoveries_s):.1f} s after Kafka was back")
    if scene.stack.clickhouse_exits:
        notes.append(f"ClickHouse ended by itself with {scene.stack.clickhouse_exits} and was restarted")
        scene.stack.clickhouse_exits.clear()
    return notes + [
        f"{s.name} ended by itself with {s.exits} and was restarted" for s in scene.stack.services if s.exits
    ]


def schedule(scenario: Scenario, rng: random.Random) -> Iterator[Fault]:
    """Each fault about equally often, in random order."""
    while True:
        yield from rng.sample(scenario.faults, len(scenario.faults))


async def compare_again(stack: Stack) -> list[str]:
    """What is wrong with the events of the scenarios so far, now that some of their keys were sent again."""
    failures = []
    for earlier in stack.earlier:
        outcomes, foreign = earlier.ledger.compare(*await stack.stored(earlier.project))
        bad = [outcome for outcome in outcomes if not outcome.good]
        if bad or foreign:
            failures.append(f"{earlier.project}, looked at again: {bad}, {foreign} never sent")
    return failures


async def count_dead_letters(stack: Stack) -> int:
    """How many there are, each counted once (docs/explanation/exactly-once.md says when one may be written twice)."""
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
            stored = await stack.count_rows()
            if stored >= ledger.accepted:
                stored = await stack.count_stored()
            if (
                stored >= ledger.accepted
                and ledger.has_excused
                and ledger.missing((await stack.stored(stack.project))[0])
            ):
                stored = -1  # some of those that need not be stored are, and others are not yet
        except (aiohttp.ClientError, TimeoutError):
            return False
        if stored not in (last, -1):
            last, moved_at = stored, time.monotonic()
        if time.monotonic() - moved_at > _NO_PROGRESS_S:
            raise TimeoutError(f"{stored} of {ledger.accepted} stored, and no more for {_NO_PROGRESS_S:g} s")
        return stored >= ledger.accepted

    try:
        await until(stored_all, "all accepted events stored", _CATCH_UP_TIMEOUT_S)
    except TimeoutError as error:
        return [str(error)]
    return []


async def _committed(stack: Stack) -> list[str]:
    """Waits until all that is stored is committed: a worker that only stores would read it again for ever."""
    behind: dict[str, str] = {}

    async def all_committed() -> bool:
        nonlocal behind
        behind = await stack.uncommitted()
        return not behind

    try:
        await until(all_committed, "all committed", _COMMITTED_WITHIN_S)
    except TimeoutError:
        return [f"stored and not committed within {_COMMITTED_WITHIN_S:g} s: {behind}"]
    return []
