"""People and windows are deleted under load, and sent again, while what does the work is killed."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.fault.deleting import begin_round
from tests.fault.faults import Fault
from tests.fault.scene import Scene

_PAUSE_S = 1.5


async def _delete(scene: Scene, disturb: Callable[[Scene], Awaitable[None]]) -> None:
    """What disturbs begins when the merges have their 2xx, and goes on while the deletions are done."""
    one = await begin_round(scene)
    await one.fill()
    disturbing = asyncio.create_task(_disturb(scene, disturb))
    try:
        deletion_ids = await one.delete()
        await one.merge_afterwards()
    finally:
        await disturbing
    await one.wait_done(deletion_ids)
    await one.fill_again()
    # Whoever starts now knows of the deleted events only what is kept of them.
    for worker in scene.stack.workers:
        await worker.kill()
        await worker.start()
    await one.send_again()
    await one.compare()


async def _disturb(scene: Scene, disturb: Callable[[Scene], Awaitable[None]]) -> None:
    await disturb(scene)
    await asyncio.sleep(_PAUSE_S * scene.rng.random())
    await disturb(scene)


async def nothing(scene: Scene) -> None: ...


async def kill_workers(scene: Scene) -> None:
    """Merges are acknowledged and not applied, and the deletions wait for them."""
    await asyncio.gather(*[worker.kill() for worker in scene.stack.workers])
    await asyncio.sleep(2.0)
    await asyncio.gather(*[worker.start() for worker in scene.stack.workers])


async def kill_query(scene: Scene) -> None:
    await asyncio.sleep(scene.rng.random())
    await scene.stack.query.kill()
    await scene.stack.query.start()


async def kill_clickhouse(scene: Scene) -> None:
    await asyncio.sleep(scene.rng.random())
    await scene.stack.kill_clickhouse()
    await asyncio.sleep(0.5)
    await scene.stack.start_clickhouse()


def _fault(name: str, disturb: Callable[[Scene], Awaitable[None]]) -> Fault:
    return Fault(name, lambda scene: _delete(scene, disturb))


DELETIONS = (
    _fault("delete and kill workers", kill_workers),
    _fault("delete", nothing),
    _fault("delete and kill query service", kill_query),
    _fault("delete and kill ClickHouse", kill_clickhouse),
)
