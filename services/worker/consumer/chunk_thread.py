"""The thread that aiokafka's consumer runs in: where it reads, what it commits, and that the log is still the same.

aiokafka resets a position that is out of range by itself, and Faust then drops every record below what it has read
before. So no reset is automatic here: places are found (positions.py) whenever partitions are assigned. When a log
turns out to have changed under the reader, the group is joined again, which ends all that is under way in good order
and leads to the same place.
"""

import asyncio
import struct
import time
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from services.runtime.log_reader import LogReader
from services.runtime.logs import get_logger
from services.runtime.settings import KafkaSettings
from services.worker.consumer.coordination import RETRY_S, Coordination, can_pass
from services.worker.consumer.place import Place, Reading, decode_note
from services.worker.consumer.positions import find_places, still_there, tell_of_losses

log = get_logger(__name__)
Records = Mapping[TopicPartition, list[ConsumerRecord]]

# A fetch is answered when so much is there, or after so long. There is one at a time, of the partitions that have nothing
# waiting here: Faust's 1.5 s for one that only quiet partitions are in kept the busy ones from being read for all that
# time. And answered at the first byte, it costs worker and broker hundreds of fetches a second.
_FETCH_MIN_BYTES = 4 * 1024 * 1024
_FETCH_MAX_WAIT_MS = 100
# Of a batch: its leader's epoch and the version of its format, which has an epoch from 2 on.
_EPOCH = struct.Struct(">12xib")
_FIRST_WITH_EPOCH = 2
_NOTHING_COMMITTED = OffsetAndMetadata(-1, "")
# Faust's recovery waits for 90 s, and then ends without a word: the worker would stand still for ever.
_PLACES_S = 75.0


class ChunkThread(driver.AIOKafkaConsumerThread):
    """`readings`: what was read of each assigned partition."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.readings: dict[TopicPartition, Reading] = {}
        # Faust seeks twice when a rebalance meets a fetch; what was lost is told of once.
        self._seeking = asyncio.Lock()
        self._epochs: dict[TopicPartition, int] = {}
        # Of these, the next records are passed on only when what was read last is still in the log ...
        self._doubtful: set[TopicPartition] = set()
        # ... and of these nothing, until they are assigned again.
        self._displaced: set[TopicPartition] = set()

    async def on_start(self) -> None:
        await super().on_start()
        # Its coordination waits for a subscription, which comes next.
        Coordination(self._ensure_consumer()._coordinator)

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Read when it starts; Faust has no settings for them.
        consumer._fetch_min_bytes = _FETCH_MIN_BYTES
        consumer._fetch_max_wait_ms = _FETCH_MAX_WAIT_MS
        self._watch_epochs(consumer._client)
        return consumer

    def _watch_epochs(self, client: Any) -> None:
        """A log that was cut and has grown again has a new leader's epoch in what came since: look at each answer."""
        send = client.send

        async def send_and_look(node_id: int, request: Any, **options: Any) -> Any:
            response = await send(node_id, request, **options)
            if isinstance(request, FetchRequest):
                for topic, partitions in response.topics:
                    for partition, *_, batches in partitions:
                        self._look_at_epoch(TopicPartition(topic, partition), batches)
            return response

        client.send = send_and_look

    def _look_at_epoch(self, tp: TopicPartition, batches: bytes | None) -> None:
        if not batches or len(batches) < _EPOCH.size:
            return
        epoch, version = _EPOCH.unpack_from(batches)
        if version >= _FIRST_WITH_EPOCH and self._epochs.setdefault(tp, epoch) != epoch:
            self._epochs[tp] = epoch
            self._doubtful.add(tp)

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109
        max_records: int | None = None,
    ) -> Records:
        try:
            fetched: Records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        except OffsetOutOfRangeError as error:
            self._displace(consumer, error.args[0])
            return {}
        except NoOffsetForPartitionError:
            # A fetch that began before a rebalance meets a partition that is new here, and nothing of it is committed.
            # Its place is found next: each assignment ends with `seek_to_committed`.
            return {}
        if doubtful := self._doubtful & fetched.keys():
            await self._look_again(consumer, doubtful)
        if self._displaced:
            return {tp: records for tp, records in fetched.items() if tp not in self._displaced}
        return fetched

    async def _look_again(self, consumer: AIOKafkaConsumer, doubtful: set[TopicPartition]) -> None:
        """Raises nothing: where Kafka does not answer, the group is joined again, and the place is found then."""
        marks = {tp: last for tp in doubtful if tp in self.readings and (last := self.readings[tp].last)}
        try:
            async with LogReader.connected(self._kafka) as reader:
                same = await still_there(reader, marks)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("log_not_read", reason=repr(error))
            same = set()
        self._doubtful -= doubtful
        if changed := marks.keys() - same:
            self._displace(consumer, changed)

    def _displace(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """What comes next is not what follows what was read."""
        if not self._displaced:
            log.error("log_changed", partitions=[f"{tp.topic}/{tp.partition}" for tp in partitions])
            consumer._coordinator.request_rejoin()
        self._displaced.update(partitions)

    def read_until(self) -> dict[TopicPartition, int]:
        """Of each partition of which something was read, the offset behind that."""
        return {tp: reading.last.offset + 1 for tp, reading in self.readings.items() if reading.last}

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek each assigned partition to the place where reading goes on; these places."""
        try:
            async with asyncio.timeout(_PLACES_S):
                places: Mapping[TP, int] = await self.call_thread(self._seek_in_turn)
        except Exception as error:
            # Of this too Faust's recovery says nothing.
            log.exception("places_not_found", reason=repr(error))
            await self.app.crash(error)
            raise
        return places

    async def _seek_in_turn(self) -> Mapping[TopicPartition, int]:
        """Again and again while Kafka does not answer."""
        async with self._seeking:
            while True:
                try:
                    return await self._seek_to_places()
                except (KafkaError, OSError) as error:
                    if not can_pass(error) or self.should_stop:
                        raise
                    log.warning("places_not_found_yet", reason=repr(error))
                await asyncio.sleep(RETRY_S)

    async def _seek_to_places(self) -> Mapping[TopicPartition, int]:
        consumer = self._ensure_consumer()
        wanted = consumer.assignment()
        found = await consumer._coordinator.fetch_committed_offsets(list(wanted))
        committed = {tp: found.get(tp, _NOTHING_COMMITTED) for tp in wanted}
        async with LogReader.connected(self._kafka) as reader:
            places = await find_places(reader, committed)
        # A partition whose leader is away must not hold up the others: it is looked at when it has come back.
        for tp in wanted - places.keys():
            places[tp] = Place(max(0, committed[tp].offset), decode_note(committed[tp].metadata))
            self._doubtful.add(tp)
        self._displaced.clear()
        mine = {tp: place for tp, place in places.items() if tp in consumer.assignment()}
        for tp, place in mine.items():
            consumer.seek(tp, place.offset)
            self.readings[tp] = Reading(place.note)
            tell_of_losses(tp.topic, tp.partition, committed[tp].offset, place)
        await self._commit_moved({tp: place for tp, place in mine.items() if place.moved})
        return {tp: place.offset for tp, place in mine.items()}

    async def _commit_moved(self, places: Mapping[TopicPartition, Place]) -> None:
        """So that lag counts from there, and nothing is told of twice."""
        if places:
            try:
                await self._ensure_consumer().commit(
                    {tp: OffsetAndMetadata(place.offset, place.note.encode()) for tp, place in places.items()}
                )
            except KafkaError as error:
                if not can_pass(error):
                    raise
                log.warning("places_not_committed", reason=repr(error))

    @property
    def _kafka(self) -> KafkaSettings:
        transport: Any = self.transport
        kafka: KafkaSettings = transport.kafka
        return kafka

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Each with its note. False when the group has gone on without us; what cannot pass ends the worker."""
        consumer = self._ensure_consumer()
        while commits := self._commits(offsets, consumer.assignment()):
            try:
                await consumer.commit(commits)
            except (CommitFailedError, IllegalStateError) as error:
                log.warning("not_committed", reason=str(error))
                return False
            except KafkaError as error:
                if not can_pass(error):
                    log.exception("commit_failed", reason=repr(error))
                    await self.crash(error)
                    return False
                log.warning("not_committed_yet", reason=repr(error))
            else:
                # Faust says of a partition that nobody has committed for minutes that something is wrong.
                self.tp_last_committed_at.update(dict.fromkeys(commits, time.monotonic()))
                return True
            if self.should_stop:
                return False
            await asyncio.sleep(RETRY_S)
        return False

    def _commits(self, offsets: Mapping[TP, int], assigned: Collection[TP]) -> dict[TP, OffsetAndMetadata]:
        """Of what is still ours, and was read since its place was found: a commit that began before could name records that
        are others by now. aiokafka refuses to commit nothing with a ValueError."""
        read = self.read_until()
        return {
            tp: OffsetAndMetadata(offset, self._metadata(tp, offset))
            for tp, offset in offsets.items()
            if tp in assigned and (tp not in self.readings or offset <= read.get(tp, 0))
        }

    def _metadata(self, tp: TP, offset: int) -> str:
        reading = self.readings.get(tp)
        return "" if reading is None else reading.note_at(offset, self.highwater(tp) or 0).encode()
