"""Partitions that move: workers that stall and come back, join and leave; the insert that comes too late."""

import asyncio
import signal
from collections import Counter

import msgspec

from tests.fault.faults import Fault
from tests.fault.processes import Service, until
from tests.fault.proxy import Mode, wait_for
from tests.fault.scene import Scene

_CATCH_S = 15.0
_MOVED_S = 60.0
# Eight of them at once, on two cores.
_STARTED_S = 120.0
_SETTLE_S = 3.0


async def stall_until_moved(scene: Scene) -> None:
    """SIGSTOP until the others have its partitions, then SIGCONT: it goes on where it was."""
    worker, _ = await scene.busy_worker()
    worker.pause()
    try:
        await scene.stack.wait_all_assigned(_MOVED_S, but=worker)
        await asyncio.sleep(scene.rng.uniform(0, 2))
    finally:
        worker.resume()


async def late_insert(scene: Scene) -> None:
    """Its insert hangs on the way until its partitions have moved and the successor has stored the same lines; then
    it arrives. Merges are off for a while, so that only the reads can hide what lies there twice."""
    stack = scene.stack
    worker, proxy = await scene.busy_worker()
    await proxy.set(Mode.HOLD)
    if not await wait_for(proxy.caught, _CATCH_S):
        await proxy.set(Mode.PASS)
        return
    worker.pause()
    try:
        await stack.wait_all_assigned(_MOVED_S, but=worker)
        before = await stack.count_stored()
        await until(lambda: _grown(scene, before), "the successor stores", 90)
        await asyncio.sleep(1)
        await stack.sql("SYSTEM STOP MERGES headrace.events")
        await proxy.release()
        rows, since, until_ = await _rows_twice(scene)
        scene.late_rows += rows
        if rows:
            await scene.watch.walk(since, until_ + 0.001)
        await scene.watch.count()
    finally:
        await proxy.set(Mode.PASS)
        worker.resume()
        await stack.sql("SYSTEM START MERGES headrace.events")


async def join_and_leave(scene: Scene) -> None:
    """A worker leaves as it is asked to (its blocks are stored and committed), and comes back a moment later."""
    worker = scene.rng.choice(scene.stack.workers)
    started = await scene.stack.is_ready(worker)
    status = await worker.stop()
    good = status == 0 or (status == -signal.SIGTERM and not started)
    scene.check(good, f"{worker.name} was asked to stop and ended with status {status}")
    await asyncio.sleep(scene.rng.uniform(0, 3))
    await worker.start()
    await asyncio.sleep(scene.rng.uniform(0, 3))


async def rolling_restart(scene: Scene) -> None:
    """Workers with names of their own start again one by one, as at a deploy: no partition moves, and each is read by its own
    worker once. So the ids of a partition are read twice in all: when the workers were started, and now."""
    stack = scene.stack
    for worker in stack.workers:
        worker.overrides["HEADRACE_WORKER_INSTANCE_ID"] = worker.name
        # A busy machine takes long to start one.
        worker.overrides["HEADRACE_WORKER_SESSION_TIMEOUT_S"] = "60"
    await asyncio.gather(*[worker.stop() for worker in stack.workers])
    await asyncio.gather(*[worker.start() for worker in stack.workers])
    await stack.wait_ready(_STARTED_S)
    await _all_share(scene)
    held = await _held(scene)
    # Ids are read with the first block that has records of a partition.
    await until(lambda: all(_has_read(worker, held[worker.name]) for worker in stack.workers), "ids read", _MOVED_S)
    logs = {worker.name: worker.log.stat().st_size for worker in stack.workers}
    await _restart_each(scene)
    await until(
        lambda: all(_has_read(worker, held[worker.name], logs[worker.name]) for worker in stack.workers),
        "ids read again",
        _MOVED_S,
    )
    read: Counter[int] = Counter()
    now = await _held(scene)
    for worker in stack.workers:
        loaded = _partitions_loaded(worker.log.read_bytes()[logs[worker.name] :])
        read.update(loaded)
        scene.check(sorted(loaded) == sorted(held[worker.name]), f"{worker.name} of {held[worker.name]} read {loaded}")
        scene.check(
            now[worker.name] == held[worker.name], f"{worker.name} had {held[worker.name]} and has {now[worker.name]}"
        )
    scene.notes.append(
        f"{len(stack.workers)} workers started again: each partition's ids were read {max(read.values())} time(s) at most"
    )


def _has_read(worker: Service, partitions: set[int], since: int = 0) -> bool:
    return partitions <= set(_partitions_loaded(worker.log.read_bytes()[since:]))


async def _restart_each(scene: Scene) -> None:
    for worker in scene.stack.workers:
        status = await worker.stop()
        scene.check(status == 0, f"{worker.name} was asked to stop and ended with status {status}")
        await worker.start()
        await scene.stack.wait_ready(_STARTED_S)
        await asyncio.sleep(scene.rng.uniform(0.5, 2))
    await _all_share(scene)


async def _all_share(scene: Scene) -> None:
    """Until each worker has partitions: the first that come take all, and give some back when the last one has joined."""
    await _held(scene)
    await scene.stack.wait_all_assigned()
    await asyncio.sleep(_SETTLE_S)


async def _held(scene: Scene) -> dict[str, set[int]]:
    """The partitions of each worker, when each has some. A worker that is slow to say which is asked again."""
    workers = scene.stack.workers
    held: dict[str, set[int]] = {}

    async def all_have_some() -> bool:
        held.update({worker.name: await scene.stack.partitions_of(worker) for worker in workers})
        return all(held.values())

    await until(all_have_some, "each worker has partitions", _MOVED_S)
    return held


def _partitions_loaded(log: bytes) -> list[int]:
    """Of all reads of ids that a log tells of."""
    lines = [msgspec.json.decode(line) for line in log.splitlines() if b'"ids_loaded"' in line]
    return [partition for line in lines for partition in line["partitions"]]


async def _grown(scene: Scene, before: int) -> bool:
    return await scene.stack.count_stored() > before


async def _rows_twice(scene: Scene) -> tuple[int, float, float]:
    """How many rows lie in the parts twice now, and the first and last second of the last of them."""
    text = await scene.stack.sql(
        "SELECT count(), toUnixTimestamp64Milli(max(at)) / 1000 - 1, toUnixTimestamp64Milli(max(at)) / 1000 FROM "
        f"(SELECT any(timestamp) AS at FROM headrace.events WHERE project_id = '{scene.stack.project}' "
        "GROUP BY event_id HAVING count() > 1) FORMAT TSV"
    )
    count, since, until_ = text.split()
    return int(count), float(since), float(until_)


MOVES = (
    Fault("stall a worker until its partitions moved", stall_until_moved),
    Fault("insert arrives after the partitions moved", late_insert),
    Fault("worker leaves and joins", join_and_leave),
)

ROLLING = (Fault("workers start again one by one", rolling_restart),)
