"""One partition's queue: what waits for it becomes records, at most two of them on their way at a time.

A queue knows nothing of the others. Whoever owns the queues says when they send (`launch`), and is told when bytes no
longer wait (`Host`).
"""

import asyncio
from collections import deque
from time import perf_counter
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct

from services.contract.log.envelope import Envelope, merge
from services.edge.event_log.lost_end import LostEnd
from services.edge.event_log.port import LogUnavailableError
from services.edge.event_log.record_batch import RecordBatch
from services.edge.loop_metrics import BOUNDS_S, LoopCounter, LoopHistogram

# A record stays below Kafka's usual limit of 1 MiB; an envelope with a single larger event goes alone.
RECORD_BYTES = 768 * 1024
# What a batch has beside lines and ids, and what "compressing" may add to random bytes.
_BATCH_OVERHEAD_BYTES = 4096
# A second record may leave while the first is on its way; more would only queue in the client.
_RECORDS_IN_FLIGHT = 2
# Who has stamped a record, as Kafka numbers it.
_BY_BROKER = 1

RECORDS = LoopCounter("headrace_edge_records", "Kafka records sent and acknowledged.", ["topic"])
RECORD_FAILURES = LoopCounter("headrace_edge_record_failures", "Kafka records that were not acknowledged.", ["topic"])
ACK_SECONDS = LoopHistogram(
    "headrace_edge_ack_seconds",
    "From the send of a record to its acknowledgement.",
    BOUNDS_S,
).labels()


class RecordTooLargeError(Exception):
    """An event that is larger than its topic takes. It is not sent: a refusal would hold up what comes behind it."""


def record_bytes(limit: int) -> int:
    """How large a record should be at most for a topic that takes batches of `limit` bytes."""
    return max(1, min(RECORD_BYTES, limit - _BATCH_OVERHEAD_BYTES))


class Append:
    """One request's parts in several queues; `done` is resolved when all are acknowledged, or the first has failed."""

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


class Part(Struct, gc=False):
    """What one request appends to one partition; `size` in bytes, ids included."""

    envelope: Envelope
    append: Append
    size: int


class Host(Protocol):
    """What a queue needs of its owner."""

    @property
    def producer(self) -> AIOKafkaProducer:
        """Started."""

    @property
    def compression(self) -> str:
        """Of records: a name that Kafka knows, or `none`."""

    def limit_of(self, topic: str) -> int:
        """Bytes of a batch that the topic takes."""

    def failed(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        """A record was not acknowledged on this producer."""

    def too_large(self) -> None:
        """A record was larger than `limit_of` its topic, and was not sent."""

    def sent(self, size: int, *, more: bool) -> None:
        """So many bytes no longer wait, acknowledged or not. `more`: the queue is to be launched again."""


class PartitionQueue:
    """Parts leave in the order in which they came."""

    def __init__(self, host: Host, topic: str, partition: int) -> None:
        self._host = host
        self._topic = topic
        self._partition = partition
        self._waiting: deque[Part] = deque()
        self._in_flight = 0
        self.lost_end = LostEnd(topic, partition)
        self._failed_at: float | None = None
        self._started: list[float] = []
        self.sending: set[asyncio.Task[None]] = set()  # keeps them alive

    def add(self, part: Part) -> None:
        self._waiting.append(part)

    def launch(self) -> None:
        """Send what waits, in as many records as may be on their way."""
        while self._waiting and self._in_flight < _RECORDS_IN_FLIGHT:
            self._in_flight += 1
            task = asyncio.create_task(self._send(self._gather()))
            self.sending.add(task)
            task.add_done_callback(self.sending.discard)

    def _gather(self) -> list[Part]:
        parts = [self._waiting.popleft()]
        size = parts[0].size
        most = record_bytes(self._host.limit_of(self._topic))
        while self._waiting and size + self._waiting[0].size <= most:
            parts.append(self._waiting.popleft())
            size += parts[-1].size
        return parts

    async def _send(self, parts: list[Part]) -> None:
        size = sum([part.size for part in parts])
        # A request that has failed is sent again: what is left of it would come before its beginning.
        parts = [part for part in parts if not part.append.done.done()]
        appends = [part.append for part in parts]
        try:
            if parts:
                batch = RecordBatch(merge([part.envelope for part in parts]), self._host.compression)
                parts.clear()  # the batch holds their bytes now, compressed
                await self._acknowledged(batch)
            for append in appends:
                append.acknowledge()
        except Exception as error:
            for append in appends:
                append.fail(error)
            if not isinstance(error, KafkaError | RecordTooLargeError | asyncio.TimeoutError | OSError):
                raise
        finally:
            self._in_flight -= 1
            self._host.sent(size, more=bool(self._waiting))

    async def _acknowledged(self, batch: RecordBatch) -> None:
        """Send one record and wait for its acknowledgement."""
        limit = self._host.limit_of(self._topic)
        if batch.size > limit:
            self._host.too_large()
            raise RecordTooLargeError(
                f"a record of {batch.size} bytes, and {self._topic} takes {limit}: raise its max.message.bytes"
            )
        producer, started, before = self._host.producer, perf_counter(), self.lost_end.sending()
        self._started.append(started)
        try:
            ack = await producer.send_batch(batch, self._topic, partition=self._partition)
            taken = await ack
        except BaseException as error:
            RECORD_FAILURES.labels(self._topic).inc()
            self._failed_at = perf_counter()
            if isinstance(error, KafkaError):
                self._host.failed(producer, error)
            raise
        finally:
            self._started.remove(started)
            ACK_SECONDS.observe(perf_counter() - started)
        RECORDS.labels(self._topic).inc()
        self._failed_at = None
        self.lost_end.acknowledged(
            taken.offset, before, taken.timestamp if taken.timestamp_type == _BY_BROKER else None
        )

    def is_failing(self, now: float, limit_s: float) -> bool:
        """Whether the last record failed not long ago, or one is under way for longer than `limit_s`. `now`: as
        perf_counter says."""
        failed = self._failed_at is not None and now - self._failed_at < 2 * limit_s
        return failed or bool(self._started and now - self._started[0] > limit_s)
