"""Records that a broker refuses for good: larger than the topic takes by now, or of a clock that is ahead."""

import time

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.runtime.kafka import topics_of
from services.runtime.kafka_topics import topic_configs
from tests.fault.faults import Fault
from tests.fault.processes import until
from tests.fault.scene import Scene

_REFUSED_S = 4.0
# An edge makes a new producer at most once a second, and says for a while that a partition failed.
_ACCEPTED_AGAIN_S = 20.0


async def too_large(scene: Scene) -> None:
    """The topic takes less than before, which the edges do not know yet; then it takes as much again."""
    await _refuse(scene, {"max.message.bytes": "100"})


async def clock_ahead(scene: Scene) -> None:
    """The topic is of Kafka's defaults, where the producer's time counts, and an edge's clock is two hours ahead."""
    edge = scene.rng.choice(scene.stack.edges)
    edge.clock = scene.stack.data_dir / f"{edge.name}.clock"
    edge.clock.write_text("0")
    await edge.kill()
    await edge.start()
    await scene.stack.wait_ready()
    edge.clock.write_text("7200")
    try:
        await _refuse(scene, {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "3600000"})
        edge.clock.write_text("0")
        await _all_accepted_again(scene)
    finally:
        edge.clock = None
        await edge.kill()
        await edge.start()


async def _refuse(scene: Scene, changed: dict[str, str]) -> None:
    """Some records are refused meanwhile. Afterwards every edge takes events again, in every partition."""
    before = sum(scene.load.refusals.by_status.values())
    await _set(scene, changed)
    try:
        await until(
            lambda: sum(scene.load.refusals.by_status.values()) > before, f"a refusal with {changed}", 30 + _REFUSED_S
        )
    finally:
        await _set(scene, {})
    if "message.timestamp.type" not in changed:
        await _all_accepted_again(scene)


async def _all_accepted_again(scene: Scene) -> None:
    began = time.monotonic()
    async with scene.load.held():
        took_s = time.monotonic() - began
    scene.check(took_s < _ACCEPTED_AGAIN_S, f"what was refused was accepted only after {took_s:.1f} s")
    await scene.stack.wait_ready()
    scene.notes.append(f"accepted {took_s:.1f} s after the last refusal")


async def _set(scene: Scene, changed: dict[str, str]) -> None:
    """The settings of the events topic: as it was made, but for these."""
    settings = scene.stack.kafka_settings()
    topic = topics_of(settings).events
    configs = {**topic_configs(settings, topic), **changed}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","))
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    finally:
        await admin.close()


REFUSALS = (Fault("records too large for the topic", too_large), Fault("an edge's clock far ahead", clock_ahead))
