"""Clocks of edges and workers that differ by seconds to an hour, and jump."""

import asyncio
from pathlib import Path

from tests.fault.faults import Fault
from tests.fault.processes import Service
from tests.fault.scene import Scene

# No two clocks, those of the brokers among them, differ by more than an hour, which is what the window allows for.
_MOST_S = 3590.0
_FLOWS_S = 1.5


async def wrong_clocks(scene: Scene) -> None:
    """All start again with other clocks, and a window that is so short that an hour matters. Clocks jump; then each worker
    is killed, so that the others read its ids from ClickHouse. At the end all clocks are right."""
    stack = scene.stack
    services = [*stack.edges, *stack.workers]
    files = {service.name: stack.data_dir / f"{service.name}.clock" for service in services}
    # What is allowed at most comes always: an edge that is an hour late.
    off_s = [-_MOST_S, *_random_offsets(scene, len(services) - 1, -1)]
    for service, seconds in zip(services, off_s, strict=True):
        await _start_with(service, files[service.name], seconds)
    await stack.wait_ready()
    await stack.wait_all_assigned()
    for side in (-1, 1):
        await asyncio.sleep(_FLOWS_S)
        for worker in stack.workers:
            await worker.kill()
            await worker.start()
        await stack.wait_all_assigned()
        await asyncio.sleep(_FLOWS_S)
        for service, seconds in zip(services, _random_offsets(scene, len(services), side), strict=True):
            files[service.name].write_text(str(seconds))
    scene.notes.append("clocks off by " + ", ".join(f"{seconds:.0f} s" for seconds in off_s) + ", then by others")
    for service in services:
        service.clock = None
        service.overrides.pop("HEADRACE_WORKER_DEDUPE_WINDOW_HOURS", None)
        await service.kill()
        await service.start()
    await stack.wait_ready()
    await stack.wait_all_assigned()


def _random_offsets(scene: Scene, count: int, side: int) -> list[float]:
    """All late (-1) or all early (1), some by up to an hour, some by seconds."""
    return [side * scene.rng.choice([1.0, 0.002]) * scene.rng.uniform(0, _MOST_S) for _ in range(count)]


async def _start_with(service: Service, file: Path, seconds: float) -> None:
    await asyncio.to_thread(file.write_text, str(seconds))
    service.clock = file
    service.overrides["HEADRACE_WORKER_DEDUPE_WINDOW_HOURS"] = "1"
    await service.kill()
    await service.start()


CLOCKS = (Fault("clocks wrong, and jumping", wrong_clocks),)
