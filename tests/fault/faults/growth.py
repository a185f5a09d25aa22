"""The events topic is made larger under running services, which start again one by one."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from services.runtime.kafka import count_partitions, topics_of
from tests.fault.faults import Fault
from tests.fault.scene import Scene

_MORE = 3
_FLOWS_S = 2.0


async def grow(scene: Scene) -> None:
    """Ids stay where they were, and keys that come again are known, whoever started before or after."""
    stack = scene.stack
    settings = stack.kafka_settings()
    topic = topics_of(settings).events
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","))
    await admin.start()
    try:
        larger = await count_partitions(settings, topic) + _MORE
        await admin.create_partitions({topic: NewPartitions(total_count=larger)})
    finally:
        await admin.close()
    services = [*stack.edges, *stack.workers]
    for service in scene.rng.sample(services, len(services)):
        await service.kill()
        await service.start()
        await asyncio.sleep(scene.rng.uniform(0, _FLOWS_S))
    await stack.wait_ready()
    await stack.wait_all_assigned()
    await asyncio.sleep(_FLOWS_S)


GROWTH = (Fault("topic grows, services start again", grow),)
