"""Changes over how many partitions of the events topic ids are spread: with everything stopped and everything read."""

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.contract.log.topics import Partitioning
from services.runtime.clickhouse import ClickHouse
from services.runtime.kafka import client_options, count_partitions, stop_consumer, topics_of
from services.runtime.partitioning import PartitioningError, read_partitioning, write_partitioning
from services.runtime.settings import WorkerSettings


async def use_partitions(store: ClickHouse, settings: WorkerSettings, count: int) -> Partitioning:
    """From the next start of the services, spread ids over the first `count` partitions.

    Raises PartitioningError when the topic has fewer or something in it is not stored yet, KafkaError, StoreError.
    """
    topic = topics_of(settings).events
    there = await count_partitions(settings, topic)
    if not 1 <= count <= there:
        raise PartitioningError(f"{topic} has {there} partitions: {count} cannot be used")
    behind = await _behind(settings, topic, there)
    if behind:
        raise PartitioningError(
            f"{behind:,} records of {topic} are not stored yet. Stop the edges, wait until `lag` of the workers is 0, "
            "stop the workers, and run this again."
        )
    agreed = Partitioning(count, (await read_partitioning(store)).buckets)
    await write_partitioning(store, agreed)
    return agreed


async def _behind(settings: WorkerSettings, topic: str, partitions: int) -> int:
    """Records that the workers' group has not committed. Nobody may belong to the group: its offsets would move."""
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=settings.group, enable_auto_commit=False)
    await consumer.start()
    try:
        every = [TopicPartition(topic, partition) for partition in range(partitions)]
        starts, ends = await consumer.beginning_offsets(every), await consumer.end_offsets(every)
        committed = {tp: await consumer.committed(tp) for tp in every}
    finally:
        await stop_consumer(consumer)
    return sum(max(0, ends[tp] - (starts[tp] if committed[tp] is None else committed[tp])) for tp in every)
