"""What is in a topic, read back after a run: events and records."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from services.contract.log.envelope import ID_BYTES, IDS_HEADER


class TopicCount(Struct):
    """`record_events` holds the number of events of each record."""

    records: int = 0
    events: int = 0
    value_bytes: int = 0
    record_events: list[int] = []


async def count_topic(bootstrap: str, topic: str, partitions: int) -> TopicCount:
    """Read a topic whole. Events are lines for envelopes, records where there is no header with ids."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, max_partition_fetch_bytes=8 * 1024 * 1024, fetch_max_bytes=64 * 1024 * 1024
    )
    await consumer.start()
    try:
        assigned = [TopicPartition(topic, p) for p in range(partitions)]
        consumer.assign(assigned)
        await consumer.seek_to_beginning(*assigned)
        ends = await consumer.end_offsets(assigned)
        count = TopicCount(record_events=[])
        while any([await consumer.position(tp) < ends[tp] for tp in assigned]):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    ids = dict(record.headers).get(IDS_HEADER)
                    events = len(ids) // ID_BYTES if ids is not None else 1
                    if ids is not None and record.value.count(b"\n") != events:
                        raise RuntimeError(f"record {record.offset}: {events} ids for other lines")
                    count.records += 1
                    count.events += events
                    count.value_bytes += len(record.value)
                    count.record_events.append(events)
        return count
    finally:
        await consumer.stop()
