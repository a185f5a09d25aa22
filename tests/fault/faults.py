"""The faults. Each is brought about and undone by one function, which returns when its cause is gone."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.fault.processes import Service, until
from tests.fault.proxy import Mode, Proxy, wait_for
from tests.fault.stack import Stack

# How long a process stays away: sometimes it is back before anybody has noticed.
_AWAY_S = (0.0, 0.5, 2.0)
_CATCH_S = 15.0


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Callable[[Stack, random.Random], Awaitable[None]]


async def kill_worker(stack: Stack, rng: random.Random) -> None:
    await _restart(rng.choice(stack.workers), rng)


async def kill_worker_before_insert(stack: Stack, rng: random.Random) -> None:
    """Its block is on the way and never arrives; what it has read may have been committed meanwhile, if it is wrong."""
    worker, proxy = await _pick_busy(stack, rng)
    await proxy.set(Mode.HANG)
    if await wait_for(proxy.caught, _CATCH_S):
        await asyncio.sleep(1.5)  # longer than the commit interval
    await worker.kill()
    await proxy.set(Mode.PASS)
    await worker.start()


async def kill_worker_before_commit(stack: Stack, rng: random.Random) -> None:
    """Its block is stored, and it dies before it knows."""
    worker, proxy = await _pick_busy(stack, rng)
    await proxy.set(Mode.SWALLOW)
    await wait_for(proxy.caught, _CATCH_S)
    await worker.kill()
    await proxy.set(Mode.PASS)
    await worker.start()


async def kill_edge(stack: Stack, rng: random.Random) -> None:
    await _restart(rng.choice(stack.edges), rng)


async def kill_query(stack: Stack, rng: random.Random) -> None:
    await _restart(stack.query, rng)


async def kill_clickhouse(stack: Stack, rng: random.Random) -> None:
    await stack.kill_clickhouse()
    await asyncio.sleep(rng.choice(_AWAY_S))
    await stack.start_clickhouse()


async def _restart(service: Service, rng: random.Random) -> None:
    await service.kill()
    await asyncio.sleep(rng.choice(_AWAY_S))
    await service.start()


async def _pick_busy(stack: Stack, rng: random.Random) -> tuple[Service, Proxy]:
    """A worker that has partitions, and its proxy."""
    pairs: list[tuple[Service, Proxy]] = []

    async def found() -> bool:
        pairs[:] = [
            (worker, proxy)
            for worker, proxy in zip(stack.workers, stack.proxies, strict=True)
            if await stack.partitions_of(worker)
        ]
        return bool(pairs)

    await until(found, "a worker with partitions", 60)
    return rng.choice(pairs)
