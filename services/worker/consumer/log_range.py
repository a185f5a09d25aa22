"""Reads a stretch of the log beside the consumer group: from a time or an offset on, up to an offset."""

from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from services.contract.log.envelope import IDS_HEADER
from services.runtime.kafka import client_options, stop_consumer
from services.runtime.settings import KafkaSettings
from services.worker.record import Record

# So much of a partition at a time: it lies here beside the blocks of fresh records, and each costs a look-up of all ids.
_FETCH_BYTES = 4 * 1024 * 1024
_LIST_BYTES = 8 * 1024 * 1024
_WAIT_MS = 1000


async def records_since(
    kafka: KafkaSettings, since_s: float, ends: Mapping[TopicPartition, int], begins: Mapping[TopicPartition, int]
) -> AsyncIterator[list[Record]]:
    """The records of each partition that were written at `since_s` (Unix time) or later, or lie behind its begin, and lie before
    its end.

    In the order of the log, in lists of one partition. What retention deletes meanwhile is left out. Raises KafkaError.
    """
    if not ends:
        return  # asked for the times of no partition, aiokafka never answers
    consumer = AIOKafkaConsumer(
        **client_options(kafka),
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    await consumer.start()
    try:
        written = await consumer.offsets_for_times(dict.fromkeys(ends, int(since_s * 1000)))
        for tp, end in ends.items():
            of_time = written.get(tp)
            begin = min(end if of_time is None else of_time.offset, begins.get(tp, end))
            if begin < end:
                async for records in _records_of(consumer, tp, begin, end):
                    yield records
    finally:
        await stop_consumer(consumer)


async def _records_of(
    consumer: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int
) -> AsyncIterator[list[Record]]:
    consumer.assign([tp])
    consumer.seek(tp, begin)
    gathered: list[Record] = []
    size = 0
    while await consumer.position(tp) < end:
        try:
            fetched = await consumer.getmany(tp, timeout_ms=_WAIT_MS)
        except OffsetOutOfRangeError:
            await consumer.seek_to_beginning(tp)
            continue
        for record in fetched.get(tp, []):
            if record.offset < end:
                gathered.append(_record(record))
                size += len(record.value or b"")
        if size >= _LIST_BYTES:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered


def _record(record: ConsumerRecord) -> Record:
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.value,
        dict(record.headers).get(IDS_HEADER),
        _nothing_to_acknowledge,
        record.timestamp / 1000,
    )


def _nothing_to_acknowledge() -> None: ...
