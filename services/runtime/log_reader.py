"""Looks into the log beside the consumer group: bounds of partitions, single records by offset, places by time."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndTimestamp
from msgspec import Struct

from services.runtime.kafka import client_options, start_consumer, stop_consumer
from services.runtime.logs import get_logger
from services.runtime.settings import KafkaSettings

log = get_logger(__name__)

# What does not answer within this time is left out of the answer.
_ANSWER_S = 5.0


class Bounds(Struct, frozen=True):
    """Of a partition's log: the first offset that is there, and the one that the next record gets."""

    start: int
    end: int


class LogReader:
    """Reads what it is asked for and nothing ahead.

    A partition whose leader does not answer is missing in an answer, and holds up the others for seconds only.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = AIOKafkaConsumer(
            **client_options(kafka),
            enable_auto_commit=False,
            auto_offset_reset="none",
            request_timeout_ms=int(_ANSWER_S * 1000),
            # The broker sends the batch that a record is in, whatever its size, and nothing behind it.
            max_partition_fetch_bytes=1,
        )

    @classmethod
    @asynccontextmanager
    async def connected(cls, kafka: KafkaSettings) -> AsyncIterator[Self]:
        reader = cls(kafka)
        try:
            await start_consumer(reader._consumer)
            yield reader
        finally:
            await stop_consumer(reader._consumer)

    async def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """As the leaders say now."""
        if not partitions:
            return {}
        try:
            return await self._bounds(partitions)
        except (KafkaError, TimeoutError):
            answers = await asyncio.gather(*[self._bounds([tp]) for tp in partitions], return_exceptions=True)
            found: dict[TopicPartition, Bounds] = {}
            for tp, answer in zip(partitions, answers, strict=True):
                if isinstance(answer, dict):
                    found.update(answer)
                else:
                    log.warning("partition_not_read", topic=tp.topic, partition=tp.partition, reason=repr(answer))
            return found

    async def _bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        starts = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        return {tp: Bounds(starts[tp], ends[tp]) for tp in partitions}

    async def first_since(
        self, times_ms: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record of each partition that was written at that time or later; None where there is none. Raises
        KafkaError where a leader does not answer."""
        if not times_ms:
            return {}  # asked for the times of no partition, aiokafka never answers
        return dict(await self._consumer.offsets_for_times(dict(times_ms)))

    async def records(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, ConsumerRecord | None]:
        """The first record at or behind each offset; None where the offset lies outside of its log."""
        found: dict[TopicPartition, ConsumerRecord | None] = {}
        if not offsets:
            return found
        consumer = self._consumer
        consumer.assign(list(offsets))
        for tp, offset in offsets.items():
            consumer.seek(tp, offset)
        deadline = asyncio.get_running_loop().time() + _ANSWER_S
        while (missing := offsets.keys() - found.keys()) and asyncio.get_running_loop().time() < deadline:
            try:
                fetched = await consumer.getmany(*missing, timeout_ms=500)
            except OffsetOutOfRangeError as error:
                found.update(dict.fromkeys(error.args[0], None))
            else:
                found.update({tp: records[0] for tp, records in fetched.items()})
        consumer.unsubscribe()
        return found
