"""A cluster of two shards: one of them is killed, stalled, or cannot be reached by the other, while events with repeats
come in."""

import asyncio
import signal

from tests.fault.faults import Fault
from tests.fault.faults.store import MAX_GROWTH, WORKER_RSS_BYTES
from tests.fault.scene import Scene
from tests.fault.wire import State

_AWAY_S = (0.5, 3.0, 6.0)


async def kill_shard(scene: Scene) -> None:
    """The one that services speak to, or the other."""
    at = scene.rng.randrange(len(scene.stack.engines.nodes))
    await scene.stack.kill_shard(at)
    await asyncio.sleep(scene.rng.choice(_AWAY_S))
    await scene.stack.start_shard(at)


async def stall_shard(scene: Scene) -> None:
    """It stops in the middle of whatever it does, with its connections open."""
    shard = scene.rng.choice(scene.stack.engines.nodes)
    shard.child.send_signal(signal.SIGSTOP)
    await asyncio.sleep(scene.rng.choice(_AWAY_S))
    shard.child.send_signal(signal.SIGCONT)


def _wire(state: State) -> Fault:
    async def inject(scene: Scene) -> None:
        wire = scene.rng.choice(scene.stack.engines.wires)
        await wire.set(state)
        await asyncio.sleep(scene.rng.choice(_AWAY_S))
        await wire.set(State.WHOLE)

    return Fault(f"wire to a shard: {state.value}", inject)


async def kill_worker_without_shard(scene: Scene) -> None:
    """A worker that starts while a shard is away knows no ids: it must wait, in flat memory."""
    stack = scene.stack
    accepted, worker = scene.ledger.accepted, scene.rng.choice(stack.workers)
    await stack.kill_shard(1)
    await worker.kill()
    await worker.start()
    before = max(each.rss_bytes() for each in stack.workers)
    await asyncio.sleep(max(_AWAY_S))
    largest = max(each.rss_bytes() for each in stack.workers)
    scene.check(scene.ledger.accepted > accepted, "no event was accepted while a shard was away")
    scene.check(largest < max(WORKER_RSS_BYTES, MAX_GROWTH * before), f"a worker grew to {largest >> 20} MiB")
    await stack.start_shard(1)
    await stack.wait_all_assigned()


SHARDS = (
    Fault("kill a shard", kill_shard),
    Fault("stall a shard", stall_shard),
    _wire(State.CUT),
    _wire(State.HELD),
    Fault("kill a worker while a shard is away", kill_worker_without_shard),
)
