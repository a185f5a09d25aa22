"""Faust's Kafka transport, with one message a chunk: what was fetched of one partition at a time.

What Faust does for a message (tasks, locks, queues, sensors) costs more than everything that is done with a record of
a few events. Assignment, flow control, order, acknowledging and committing stay Faust's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import zstandard
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.codec import zstd_decode as decode_zstd_of_any_kind
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.record._crecords import default_records
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage
from mode import Service
from msgspec import Struct

from services.runtime.logs import get_logger
from services.runtime.settings import KafkaSettings
from services.worker.consumer.chunk_thread import ChunkThread
from services.worker.consumer.place import Reading
from services.worker.dedupe.port import Membership

log = get_logger(__name__)
_LOOK_EVERY_S = 1.0


class Chunk(Struct, frozen=True):
    """At least one record of one partition, in the order of the log. `begin` is the first offset that it answers for:
    where it continues what was read before, also for offsets in between that hold no record. `reading`: since when the
    partition is read from its place on."""

    begin: int
    records: Sequence[ConsumerRecord]
    reading: Reading | None


_decode_zstd = zstandard.ZstdDecompressor().decompress


def decode_zstd(data: bytes | memoryview) -> bytes:
    """A batch of the edge's says how long it becomes, and is decompressed into its place. aiokafka's decoder takes all
    kinds, into a place that grows, in twice the time."""
    try:
        decoded: bytes = _decode_zstd(data, allow_extra_data=False)
    except zstandard.ZstdError:
        decoded = decode_zstd_of_any_kind(data)
    return decoded


# aiokafka looks the name up for every batch; there is no other way to choose a decoder.
default_records.zstd_decode = decode_zstd

# Of one partition at a time, decompressed: what compresses well is hundreds of times as large as the fetch that it came in.
CHUNK_BYTES = 4 * 1024 * 1024


def take_bounded(self: FetchResult, max_records: int | None = None) -> list[ConsumerRecord]:
    """aiokafka's `getall`, which bounds the number of records only. The others stay compressed until the next call."""
    if not self.check_assignment(self._topic_partition) or not self.has_more():
        return []
    taken: list[ConsumerRecord] = []
    size = 0
    for record in self._partition_records:
        taken.append(record)
        size += len(record.value or b"")
        if size >= CHUNK_BYTES or len(taken) == max_records:
            self._update_position()
            return taken
    self._update_position()
    self._partition_records = None
    return taken


FetchResult.getall = take_bounded


class ChunkConsumer(driver.Consumer):
    """A message's value is a chunk and its offset that of the last record; acknowledged, it stands for all of them."""

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _chunks(self) -> ChunkThread:
        return cast(ChunkThread, self._thread)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[Any, Any]:  # noqa: ASYNC109
        fetched = await super()._getmany(active_partitions, timeout)
        return {tp: [records] for tp, records in fetched.items() if records}

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        records: Sequence[ConsumerRecord] = record
        begin, last = records[0].offset, records[-1]
        reading = self._chunks.readings.get(tp)
        if reading is not None:
            reading.read(last)
        read = self._read_offset[tp]
        if read is not None:
            begin = min(begin, read + 1)
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=last.offset,
            timestamp=last.timestamp / 1000,
            timestamp_type=last.timestamp_type,
            headers=None,
            key=None,
            value=Chunk(begin, records, reading),  # type: ignore[arg-type]
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Message) -> bool:
        """Acknowledge every offset of the chunk, so that Faust commits up to the first that is not, as always.

        Not of a reading that has ended: its place was looked for again since, and what it had read is read once more. The
        log may have lost its end in between, and have other records at these offsets, which nobody has stored."""
        chunk = chunk_of(message)
        if chunk.reading is not self._chunks.readings.get(message.tp):
            message.acked = True  # nobody need wait for it any more
            self._unacked_messages.discard(message)
            return False
        if not super().ack(message):
            return False
        offsets = range(chunk.begin, message.offset)
        self._acked[message.tp].extend(offsets)
        self._acked_index[message.tp].update(offsets)
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """The places. What was acknowledged before is forgotten: it is read again from there."""
        places: Mapping[TP, int] = await super().seek_to_committed()
        for tp in places:
            self._acked.pop(tp, None)
            self._acked_index.pop(tp, None)
        return places

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: to Faust all but the last offset of a chunk are a gap. Real gaps are the next chunk's."""

    @Service.task
    async def _end_with_coordination(self) -> None:
        """Of a membership that has ended with an error aiokafka and Faust only write a line. The worker would stand still:
        neither ready nor ended, so that nobody starts it again."""
        while not self.should_stop:
            await self.sleep(_LOOK_EVERY_S)
            if (error := self._coordination_error()) and not self.should_stop:
                log.critical("worker_stops", reason=str(error), exc_info=error)
                await self.app.crash(error)
                return

    def _coordination_error(self) -> BaseException | None:
        consumer = self._chunks._consumer
        task = None if consumer is None else getattr(consumer._coordinator, "_coordination_task", None)
        if task is None or not task.done() or task.cancelled():
            return None
        error: BaseException | None = task.exception()
        return error

    def membership(self) -> Membership:
        """As of the last join; no member when the group has put us out since."""
        coordinator = self._thread._ensure_consumer()._coordinator
        return Membership(coordinator.member_id, coordinator.generation)

    def read_until(self) -> dict[TopicPartition, int]:
        """Of each assigned partition, the offset before which all was read."""
        assigned = self.assignment()
        return {tp: offset for tp, offset in self._chunks.read_until().items() if tp in assigned}


class ChunkTransport(driver.Transport):
    """`kafka`: for who looks into the log beside Faust's consumer."""

    Consumer = ChunkConsumer
    kafka: KafkaSettings


def chunk_of(message: Message) -> Chunk:
    chunk: Any = message.value
    return cast(Chunk, chunk)
