"""The event log on Kafka: puts lines into envelopes, and returns after the acknowledgement of all in-sync replicas.

Each partition has a lane. What is put on lanes leaves when no more requests are being read, so that many small
requests share a record without any of them waiting for a timer. While a lane's records are on their way, what arrives
gathers and becomes the next record.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from time import perf_counter
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct
from prometheus_client import Gauge

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import Envelope, EventLine, IdentityLine, merge, pack
from services.contract.log.topics import Topics, partition_of, partitions_of
from services.edge.event_log.port import LogUnavailableError
from services.edge.event_log.record_batch import RecordBatch
from services.edge.loop_metrics import BOUNDS_S, LoopCounter, LoopHistogram
from services.runtime.kafka import ensure_topics, make_producer, topics_of
from services.runtime.logs import get_logger
from services.runtime.settings import EdgeSettings

log = get_logger(__name__)

# A record stays below Kafka's usual limit of 1 MiB; an envelope with a single larger event goes alone.
_RECORD_BYTES = 768 * 1024
# A second record may leave while the first is on its way; more would only queue in the client.
_RECORDS_IN_FLIGHT = 2
# Under a load that never pauses, what was put first leaves after so long.
_GATHER_S = 0.005
# How often the deadlines of waiting requests are looked at.
_SWEEP_S = 0.1

PENDING_BYTES = Gauge("headrace_edge_pending_bytes", "Bytes of events waiting for Kafka's acknowledgement.")
RECORDS = LoopCounter("headrace_edge_records", "Kafka records sent and acknowledged.", ["topic"])
RECORD_FAILURES = LoopCounter("headrace_edge_record_failures", "Kafka records that were not acknowledged.", ["topic"])
ACK_SECONDS = LoopHistogram(
    "headrace_edge_ack_seconds",
    "From the send of a record to its acknowledgement.",
    BOUNDS_S,
).labels()


class _Append:
    """One request's parts on several lanes; `done` is resolved when all are acknowledged, or the first has failed."""

    __slots__ = ("deadline", "done", "remaining")

    def __init__(self, parts: int, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        self.remaining = parts
        self.deadline = deadline
        self.done: asyncio.Future[None] = loop.create_future()

    def acknowledge(self) -> None:
        self.remaining -= 1
        if self.remaining == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(LogUnavailableError(f"the event log did not take the events: {error!r}"))
            self.done.exception()  # the request may have gone: its exception is then nobody's


class _Part(Struct, gc=False):
    envelope: Envelope
    append: _Append
    size: int


class _Lane:
    """One partition: what waits for it, and the records on their way."""

    def __init__(self, owner: "KafkaEventLog", topic: str, partition: int) -> None:
        self._owner = owner
        self._topic = topic
        self._partition = partition
        self._waiting: deque[_Part] = deque()
        self._in_flight = 0

    def add(self, part: _Part) -> None:
        self._waiting.append(part)

    def launch(self) -> None:
        """Send what waits, in as many records as may be on their way."""
        while self._waiting and self._in_flight < _RECORDS_IN_FLIGHT:
            self._in_flight += 1
            self._owner.spawn(self._send(self._gather()))

    def _gather(self) -> list[_Part]:
        parts = [self._waiting.popleft()]
        size = parts[0].size
        while self._waiting and size + self._waiting[0].size <= _RECORD_BYTES:
            parts.append(self._waiting.popleft())
            size += parts[-1].size
        return parts

    async def _send(self, parts: list[_Part]) -> None:
        appends, size = [part.append for part in parts], sum([part.size for part in parts])
        try:
            batch = self._owner.batch(merge([part.envelope for part in parts]))
            parts.clear()  # the batch holds their bytes now, compressed
            await self._owner.send(self._topic, self._partition, batch)
            for append in appends:
                append.acknowledge()
        except Exception as error:
            for append in appends:
                append.fail(error)
            if not isinstance(error, KafkaError | asyncio.TimeoutError | OSError):
                raise
        finally:
            self._in_flight -= 1
            self._owner.release(size)
            if self._waiting:
                self._owner.launch_soon()


class KafkaEventLog:
    """EventLog on a Kafka producer. Holds at most `edge_max_pending_bytes`; refuses above that instead of growing."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._topics: Topics = topics_of(settings)
        self._producer: AIOKafkaProducer | None = None
        self._partitions = 0
        self._identity_partitions = 0
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending_bytes = 0
        PENDING_BYTES.set_function(lambda: self._pending_bytes)
        self._is_launch_due = False
        self._put_since_last_look = False
        # In order of their deadlines. One sweep for all costs less than a timer for each request.
        self._appends: deque[_Append] = deque()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and make missing topics. Raises KafkaError; may be called again."""
        await ensure_topics(self._settings)
        producer = make_producer(self._settings, timeout_s=self._settings.edge_publish_timeout_s)
        try:
            await producer.start()
            self._partitions = len(await producer.partitions_for(self._topics.events))
            self._identity_partitions = len(await producer.partitions_for(self._topics.identity))
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Wait for what is under way, then disconnect."""
        while self._tasks or self._is_launch_due:
            await (asyncio.wait(self._tasks) if self._tasks else asyncio.sleep(0))
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._producer is not None:
            await self._producer.stop()

    async def _sweep(self) -> None:
        """Fail the appends whose time is over. Their records may still arrive: nobody was told that they did."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now, appends = asyncio.get_running_loop().time(), self._appends
            while appends and (appends[0].done.done() or appends[0].deadline <= now):
                appends.popleft().fail(TimeoutError("it did not acknowledge in time"))

    async def append_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> None:
        partitions = self._partitions
        if partitions == 0:
            raise LogUnavailableError("the event log has not answered yet")
        acknowledged = self._put(self._envelopes(ids, lines, partitions))
        del ids, lines  # thousands of objects: freed now, their memory is still in the processor's caches
        await acknowledged

    def _envelopes(
        self, ids: Sequence[bytes], lines: Sequence[EventLine], partitions: int
    ) -> list[tuple[str, int, Envelope]]:
        """The lines by partition, as records of a size that Kafka takes."""
        topic = self._topics.events
        if len(ids) == 1:
            return [(topic, partition_of(ids[0], partitions), pack(ids, lines))]
        by_partition: list[tuple[list[bytes], list[EventLine]]] = [([], []) for _ in range(partitions)]
        for partition, event_id, line in zip(partitions_of(ids, partitions), ids, lines, strict=True):
            part_ids, part_lines = by_partition[partition]
            part_ids.append(event_id)
            part_lines.append(line)
        return [
            (topic, partition, envelope)
            for partition, (part_ids, part_lines) in enumerate(by_partition)
            if part_ids
            for envelope in _bounded(part_ids, part_lines)
        ]

    async def append_identity(self, event_id: bytes, line: IdentityLine) -> None:
        if self._identity_partitions == 0:
            raise LogUnavailableError("the event log has not answered yet")
        # crc32-like spreading is not needed: any fixed function of the project keeps a project's order.
        partition = sum(line.project_id.encode()) % self._identity_partitions
        await self._put([(self._topics.identity, partition, pack([event_id], [line]))])

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if self._producer is None:
            raise LogUnavailableError("the event log has not answered yet")
        try:
            async with asyncio.timeout(self._settings.edge_publish_timeout_s):
                acks = [await self._producer.send(self._topics.dead_letters, letter.encode()) for letter in letters]
                await asyncio.gather(*acks)
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailableError(f"the event log did not take the rejected events: {error!r}") from error

    async def is_ready(self) -> bool:
        if self._producer is None:
            return False
        try:
            async with asyncio.timeout(2):
                await self._producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError, OSError):
            return False
        return True

    def _put(self, envelopes: Sequence[tuple[str, int, Envelope]]) -> asyncio.Future[None]:
        """Put records on their lanes; done when all are acknowledged. Raises LogUnavailableError."""
        size = sum([len(envelope.lines) + len(envelope.ids) for _, _, envelope in envelopes])
        if self._pending_bytes and self._pending_bytes + size > self._settings.edge_max_pending_bytes:
            raise LogUnavailableError("too much waits for the event log already")
        self._pending_bytes += size
        loop = asyncio.get_running_loop()
        append = _Append(len(envelopes), loop, loop.time() + self._settings.edge_publish_timeout_s)
        self._appends.append(append)
        for topic, partition, envelope in envelopes:
            lane = self._lanes.get((topic, partition))
            if lane is None:
                lane = self._lanes[topic, partition] = _Lane(self, topic, partition)
            lane.add(_Part(envelope, append, len(envelope.lines) + len(envelope.ids)))
        self._put_since_last_look = True
        self.launch_soon()
        return append.done

    def launch_soon(self) -> None:
        """Have the lanes send when no more requests are being read, at the latest after `_GATHER_S`. For the lanes."""
        if not self._is_launch_due:
            self._is_launch_due = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._launch_when_quiet, loop, loop.time() + _GATHER_S)

    def _launch_when_quiet(self, loop: asyncio.AbstractEventLoop, latest: float) -> None:
        """Once in a pass of the loop, which reads whatever has arrived: a pass without events is the end of the rush."""
        if self._put_since_last_look and loop.time() < latest:
            self._put_since_last_look = False
            loop.call_soon(self._launch_when_quiet, loop, latest)
            return
        self._is_launch_due = False
        for lane in self._lanes.values():
            lane.launch()

    def batch(self, envelope: Envelope) -> RecordBatch:
        """The envelope as it goes to Kafka. For the lanes."""
        return RecordBatch(envelope, self._settings.kafka_compression)

    async def send(self, topic: str, partition: int, batch: RecordBatch) -> None:
        """Send one record and wait for its acknowledgement. For the lanes."""
        assert self._producer is not None  # noqa: S101 (appends are refused before start)
        started = perf_counter()
        try:
            ack = await self._producer.send_batch(batch, topic, partition=partition)
            await ack
        except BaseException:
            RECORD_FAILURES.labels(topic).inc()
            raise
        finally:
            ACK_SECONDS.observe(perf_counter() - started)
        RECORDS.labels(topic).inc()

    def release(self, size: int) -> None:
        """Bytes that no longer wait. For the lanes."""
        self._pending_bytes -= size

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a lane's send; the set keeps the task alive."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _bounded(ids: list[bytes], lines: list[EventLine]) -> list[Envelope]:
    """One envelope, or several where one would be larger than a record should be."""
    envelope = pack(ids, lines)
    if len(envelope.lines) <= _RECORD_BYTES or len(lines) == 1:
        return [envelope]
    half = len(lines) // 2
    return _bounded(ids[:half], lines[:half]) + _bounded(ids[half:], lines[half:])
