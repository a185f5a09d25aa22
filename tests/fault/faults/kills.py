"""kill -9 of processes, at random and at the points that matter, and their restart."""

import asyncio
import random

from tests.fault.faults import Fault
from tests.fault.processes import Service
from tests.fault.proxy import Mode, wait_for
from tests.fault.scene import Scene

# How long a process stays away: sometimes it is back before anybody has noticed.
AWAY_S = (0.0, 0.5, 2.0)
CATCH_S = 15.0
LONGER_THAN_A_COMMIT_S = 1.5


async def kill_worker(scene: Scene) -> None:
    await _restart(scene.rng.choice(scene.stack.workers), scene.rng)


async def kill_worker_before_insert(scene: Scene) -> None:
    """Its block is on the way and never arrives; a wrong worker would have committed it meanwhile."""
    worker, proxy = await scene.busy_worker()
    await proxy.set(Mode.HANG)
    if await wait_for(proxy.caught, CATCH_S):
        await asyncio.sleep(LONGER_THAN_A_COMMIT_S)
    await worker.kill()
    await proxy.set(Mode.PASS)
    await worker.start()


async def kill_worker_before_commit(scene: Scene) -> None:
    """Its block is stored, and it dies before it knows."""
    worker, proxy = await scene.busy_worker()
    await proxy.set(Mode.SWALLOW)
    await wait_for(proxy.caught, CATCH_S)
    await worker.kill()
    await proxy.set(Mode.PASS)
    await worker.start()


async def kill_edge(scene: Scene) -> None:
    await _restart(scene.rng.choice(scene.stack.edges), scene.rng)


async def kill_query(scene: Scene) -> None:
    await _restart(scene.stack.query, scene.rng)


async def kill_clickhouse(scene: Scene) -> None:
    await scene.stack.kill_clickhouse()
    await asyncio.sleep(scene.rng.choice(AWAY_S))
    await scene.stack.start_clickhouse()


async def kill_everything(scene: Scene) -> None:
    """Edges, workers, query service and ClickHouse at the same moment: the log alone survives."""
    stack = scene.stack
    await asyncio.gather(stack.kill_clickhouse(), *[service.kill() for service in stack.services])
    await stack.start_clickhouse()
    await asyncio.gather(*[service.start() for service in stack.services])
    await stack.wait_ready()


async def _restart(service: Service, rng: random.Random) -> None:
    await service.kill()
    await asyncio.sleep(rng.choice(AWAY_S))
    await service.start()


KILLS = (
    Fault("kill worker", kill_worker),
    Fault("kill worker before its insert", kill_worker_before_insert),
    Fault("kill worker between insert and commit", kill_worker_before_commit),
    Fault("kill edge", kill_edge),
    Fault("kill ClickHouse", kill_clickhouse),
    Fault("kill query service", kill_query),
    Fault("kill everything but Kafka", kill_everything),
)
