"""An installation of an earlier build becomes one of this build under load, in the order of docs/how-to/upgrade.md."""

import asyncio
import signal

from services.schema.roles import Role
from tests.fault.faults import Fault
from tests.fault.processes import Service, run_headrace
from tests.fault.scene import Scene

# So long each mixture works, and so long the last.
MIXED_S = 12.0


async def upgrade(scene: Scene) -> None:
    """Tables first; then edges, workers and query services, one by one. Each mixture works for a while."""
    stack = scene.stack
    await asyncio.sleep(MIXED_S)
    admin = stack.clickhouse.environment(Role.ADMIN)
    await run_headrace({**stack.settings, **admin}, "migrate")
    await asyncio.sleep(MIXED_S)
    for service in [*stack.edges, *stack.workers, *stack.queries]:
        await _replace(scene, service)
    scene.notes.append(f"replaced one by one, {MIXED_S:.0f} s between two")


async def _replace(scene: Scene, service: Service) -> None:
    status = await service.stop()
    # uvicorn ends in good order, and then by the signal.
    ended_well = status in (0, -signal.SIGTERM)
    scene.check(ended_well, f"{service.name} was asked to stop and ended with status {status}")
    service.build = None
    await service.start()
    await scene.stack.wait_ready()
    await scene.stack.wait_all_assigned()
    await asyncio.sleep(MIXED_S)


UPGRADE = (Fault("0.1.0 becomes this build", upgrade),)
