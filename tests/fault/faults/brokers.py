"""Brokers that die, hang and refuse."""

import asyncio
import signal
import time

from tests.fault.faults import Fault
from tests.fault.processes import until
from tests.fault.scene import Scene

# The brokers notice a dead one after 3 s (stack.py); then leaders are elected and clients find them.
ELECTION_S = 12.0
NOTICED_S = 15.0
# Between two outages the load flows for a while.
STEADY_S = 1.0
EDGE_RSS_BYTES = 400 * 1024 * 1024


async def kill_one_broker(scene: Scene) -> None:
    """One of three: nothing may be refused for longer than the election takes."""
    stack = scene.stack
    at = scene.rng.randrange(len(stack.brokers))
    await asyncio.to_thread(stack.brokers[at].kill)
    await asyncio.sleep(scene.rng.uniform(1, 5))
    await stack.start_broker(at)
    await stack.wait_in_sync()
    await until(lambda: scene.load.waiting == 0, "what was refused is accepted", 180)
    longest = scene.load.refusals.longest_s
    scene.check(longest < ELECTION_S, f"events were refused for {longest:.1f} s: longer than an election")


async def kill_only_broker(scene: Scene) -> None:
    """Its log is durable: what was acknowledged is there when it comes back."""
    await asyncio.to_thread(scene.stack.brokers[0].kill)
    await _kafka_away(scene, scene.rng.uniform(1, 4))
    await scene.stack.start_broker(0)
    await _kafka_back(scene)


async def hang_brokers(scene: Scene) -> None:
    """All brokers keep their connections and say nothing."""
    for broker in scene.stack.brokers:
        broker.child.send_signal(signal.SIGSTOP)
    await _kafka_away(scene, scene.rng.uniform(1, 4))
    for broker in scene.stack.brokers:
        broker.child.send_signal(signal.SIGCONT)
    await _kafka_back(scene)


async def start_edge_without_kafka(scene: Scene) -> None:
    """An edge that starts while Kafka is away waits for it, and says so."""
    edge = scene.rng.choice(scene.stack.edges)
    await asyncio.to_thread(scene.stack.brokers[0].kill)
    await edge.kill()
    await edge.start()
    await _kafka_away(scene, 1)
    await scene.stack.start_broker(0)
    await _kafka_back(scene)


async def _kafka_away(scene: Scene, at_least_s: float) -> None:
    """No edge may call itself ready, and none may acknowledge anything."""
    edges = scene.stack.edges

    async def noticed() -> bool:
        ready = await asyncio.gather(*[scene.stack.is_ready(edge) for edge in edges])
        return not any(ready) and scene.load.waiting >= 1

    await until(noticed, "readiness of the edges is false without Kafka", NOTICED_S)
    accepted = scene.ledger.accepted
    await asyncio.sleep(at_least_s)
    scene.check(scene.ledger.accepted == accepted, "events were acknowledged without Kafka")


async def _kafka_back(scene: Scene) -> None:
    stack = scene.stack

    async def ready() -> bool:
        return all(await asyncio.gather(*[stack.is_ready(edge) for edge in stack.edges]))

    came_back_at = time.monotonic()
    await until(ready, "edges ready again", 180)
    await until(lambda: scene.load.waiting == 0, "what was refused is accepted", 180)
    scene.recoveries_s.append(time.monotonic() - came_back_at)
    await asyncio.sleep(STEADY_S)
    for edge in stack.edges:
        scene.check(edge.rss_bytes() < EDGE_RSS_BYTES, f"{edge.name} has {edge.rss_bytes() >> 20} MiB")


ONE_OF_THREE = (Fault("kill one of three brokers", kill_one_broker),)
KAFKA_AWAY = (
    Fault("kill the only broker: Kafka refuses", kill_only_broker),
    Fault("Kafka hangs", hang_brokers),
    Fault("edge starts without Kafka", start_edge_without_kafka),
)
