"""The event log on Kafka: puts lines into envelopes, and returns after the acknowledgement of all in-sync replicas.

Each partition has a queue. What is put in queues leaves when no more requests are being read, so that many small
requests share a record. When something has left a moment ago, the next leaves HEADRACE_EDGE_LINGER_MS after it: a few
requests wait for others, and where they are few in a second, none waits. While a queue's records are on their way, what
arrives gathers and becomes the next record.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import perf_counter

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace
from prometheus_client import Gauge

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import ID_BYTES, Envelope, EventLine, IdentityLine, pack
from services.contract.log.marks import identity_partition
from services.contract.log.topics import MAX_RECORD_BYTES, Partitioning, Topics
from services.edge.event_log.loss_watch import watch_for_losses
from services.edge.event_log.lost_end import LostEnd
from services.edge.event_log.partition_queue import Append, Part, PartitionQueue, record_bytes
from services.edge.event_log.port import LogUnavailableError, Packed
from services.edge.event_log.producer import LiveProducer
from services.runtime.background import in_background
from services.runtime.kafka import Outage, topics_of
from services.runtime.kafka_rights import Client
from services.runtime.kafka_topics import ensure_topics
from services.runtime.logs import get_logger
from services.runtime.settings import EdgeSettings

log = get_logger(__name__)

Agree = Callable[[int], Awaitable[Partitioning]]
# Under a load that never pauses, what was put first leaves after so long.
_GATHER_S = 0.02
_LOOK_AGAIN_S = 0.001
# How often the deadlines of waiting requests are looked at.
_SWEEP_S = 0.1

FAILING = Gauge("headrace_edge_partitions_failing", "Partitions that did not take what was last appended to them.")
PENDING_BYTES = Gauge("headrace_edge_pending_bytes", "Bytes of events waiting for Kafka's acknowledgement.")


class KafkaEventLog:
    """EventLog on a Kafka producer. Holds at most `edge_max_pending_bytes`; refuses above that instead of growing."""

    def __init__(
        self,
        settings: EdgeSettings,
        agree: Agree,
        more_to_come: Callable[[], bool] = lambda: False,
        clients: Callable[[], int] = lambda: 0,
        trace: Callable[[], bytes | None] | None = None,
    ) -> None:
        """`agree` says how ids are spread, given the topic's number of partitions. May raise, see `start`.
        `more_to_come`: whether bodies that have arrived are still being read, whose events could share records.
        `clients`: how many connections there are, one request at a time on each.
        `trace`: of the request that appends, where some are traced."""
        self._settings = settings
        self._agree = agree
        self._more_to_come = more_to_come
        self._clients = clients
        self._linger_s = settings.edge_linger_ms / 1000
        self._launched_at = 0.0
        self._trace = trace
        self._topics: Topics = topics_of(settings)
        self._live = LiveProducer(settings)
        self._outage = Outage(settings)
        self._spread: Partitioning | None = None
        self._identity_partitions = 0
        self._queues: dict[tuple[str, int], PartitionQueue] = {}
        self._pending_bytes = 0
        PENDING_BYTES.set_function(lambda: self._pending_bytes)
        FAILING.set_function(lambda: len(self._failing()))
        self._is_launch_due = False
        self._put_since_last_look = False
        # In order of their deadlines. One sweep for all costs less than a timer for each request.
        self._appends: deque[Append] = deque()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect and make missing topics. Raises KafkaError, and what `agree` raises; may be called again."""
        await ensure_topics(self._settings, Client.EDGE)
        counts = await self._live.start()
        self._spread = await self._agree(counts[self._topics.events])
        self._identity_partitions = counts[self._topics.identity]
        self._tasks = [
            in_background("deadlines of appends", self._sweep()),
            in_background("watch for losses", watch_for_losses(self._settings, self._ends)),
        ]

    async def stop(self) -> None:
        """Wait for what is under way, then disconnect."""
        while (sending := self._sending()) or self._is_launch_due:
            await (asyncio.wait(sending) if sending else asyncio.sleep(0))
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._outage.stop()
        await self._live.stop()

    def _ends(self) -> dict[TopicPartition, LostEnd]:
        return {TopicPartition(*at): queue.lost_end for at, queue in self._queues.items()}

    def _sending(self) -> set[asyncio.Task[None]]:
        return {task for queue in self._queues.values() for task in queue.sending}

    async def _sweep(self) -> None:
        """Fail the appends whose time is over. Their records may still arrive: nobody was told that they did."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now, appends = asyncio.get_running_loop().time(), self._appends
            while appends and (appends[0].done.done() or appends[0].deadline <= now):
                appends.popleft().fail(TimeoutError("it did not acknowledge in time"))

    async def append_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> None:
        acknowledged = self._put(self._bounded(self.pack_events(ids, lines)))
        del ids, lines  # thousands of objects: freed now, their memory is still in the processor's caches
        await acknowledged

    async def append_packed(self, records: Packed) -> None:
        await self._put(self._bounded(records))

    def _bounded(self, records: Packed) -> Packed:
        """Of a size that Kafka takes now: what is appended once more may have been refused as too large."""
        if len(records) == 1 and records[0][2].count == 1:
            return records  # a single event
        topic = self._topics.events
        most = record_bytes(self.limit_of(topic))
        return [(topic, at, part) for _, at, envelope in records for part in _parts(envelope, most)]

    def pack_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> Packed:
        """The lines by partition."""
        spread, topic = self._spread, self._topics.events
        if spread is None:
            raise LogUnavailableError("the event log has not answered yet")
        if len(ids) == 1:
            return [(topic, spread.partition_of(ids[0]), pack(ids, lines))]
        by_partition: list[tuple[list[bytes], list[EventLine]]] = [([], []) for _ in range(spread.partitions)]
        for partition, event_id, line in zip(spread.partitions_of(ids), ids, lines, strict=True):
            part_ids, part_lines = by_partition[partition]
            part_ids.append(event_id)
            part_lines.append(line)
        return [
            (topic, partition, pack(part_ids, part_lines))
            for partition, (part_ids, part_lines) in enumerate(by_partition)
            if part_ids
        ]

    async def append_identity(self, ids: Sequence[bytes], lines: Sequence[IdentityLine]) -> None:
        if self._identity_partitions == 0:
            raise LogUnavailableError("the event log has not answered yet")
        # crc32-like spreading is not needed: any fixed function of the project keeps a project's order.
        partition = identity_partition(lines[0].project_id, self._identity_partitions)
        await self._put([(self._topics.identity, partition, pack(ids, lines))])

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if self._spread is None:
            raise LogUnavailableError("the event log has not answered yet")
        producer = self.producer
        try:
            async with asyncio.timeout(self._settings.edge_publish_timeout_s):
                records = [record for letter in letters for record in letter.records()]
                acks = [await producer.send(self._topics.dead_letters, record) for record in records]
                await asyncio.gather(*acks)
        except (KafkaError, TimeoutError, OSError) as error:
            if isinstance(error, KafkaError):
                self.failed(producer, error)
            raise LogUnavailableError(f"the event log did not take the rejected events: {error!r}") from error

    async def is_ready(self) -> bool:
        if self._spread is None:
            return False
        if self._failing():
            self._outage.look()
            return False
        try:
            async with asyncio.timeout(2):
                await self.producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError, OSError):
            self._outage.look()
            return False
        self._outage.over()
        return True

    def _failing(self) -> list[PartitionQueue]:
        """The partitions that do not take what is appended. One to which nothing was appended for a while counts as
        good again: an edge that gets no requests because it is not ready would never know otherwise."""
        limit_s = self._settings.edge_publish_timeout_s
        now = perf_counter()
        return [queue for queue in self._queues.values() if queue.is_failing(now, limit_s)]

    def _put(self, envelopes: Packed) -> asyncio.Future[None]:
        """Put records in their queues; done when all are acknowledged. Raises LogUnavailableError."""
        if self._trace is not None and (trace := self._trace()):
            envelopes = [(topic, at, replace(envelope, trace=trace)) for topic, at, envelope in envelopes]
        size = 0
        for _, _, envelope in envelopes:
            size += envelope.size
        if self._pending_bytes and self._pending_bytes + size > self._settings.edge_max_pending_bytes:
            raise LogUnavailableError("too much waits for the event log already")
        self._pending_bytes += size
        loop = asyncio.get_running_loop()
        append = Append(len(envelopes), loop, loop.time() + self._settings.edge_publish_timeout_s)
        self._appends.append(append)
        for topic, partition, envelope in envelopes:
            queue = self._queues.get((topic, partition))
            if queue is None:
                queue = self._queues[topic, partition] = PartitionQueue(self, topic, partition)
            queue.add(Part(envelope, append, envelope.size))
        self._put_since_last_look = True
        self._launch_soon()
        return append.done

    def _launch_soon(self) -> None:
        """Have the queues send when no more requests are being read, at the latest after `_GATHER_S`."""
        if not self._is_launch_due:
            self._is_launch_due = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._launch_when_quiet, loop, loop.time() + _GATHER_S)

    def _launch_when_quiet(self, loop: asyncio.AbstractEventLoop, latest: float) -> None:
        """Once in a pass of the loop, which reads whatever has arrived: a pass without events is the end of the rush."""
        now = loop.time()
        if now < latest:
            if self._put_since_last_look:
                self._put_since_last_look = False
                loop.call_soon(self._launch_when_quiet, loop, latest)
                return
            if self._more_to_come():
                loop.call_later(_LOOK_AGAIN_S, self._launch_when_quiet, loop, latest)
                return
            # Unless half of those who could send more wait for this: then little more would come.
            linger_s = self._launched_at + self._linger_s - now
            if linger_s > 0 and 2 * self._under_way() < self._clients():
                loop.call_later(linger_s, self._launch_when_quiet, loop, latest)
                return
        self._launched_at = now
        self._is_launch_due = False
        for queue in self._queues.values():
            queue.launch()

    def _under_way(self) -> int:
        """Appends that wait for their acknowledgement, and a few that no longer do."""
        appends = self._appends
        while appends and appends[0].done.done():
            appends.popleft()
        return len(appends)

    @property
    def producer(self) -> AIOKafkaProducer:
        """For the queues. Appends are refused before there is one."""
        return self._live.current

    def failed(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        """For the queues."""
        self._live.failed(producer, error)

    def too_large(self) -> None:
        """For the queues."""
        self._live.look_at_limits()

    def limit_of(self, topic: str) -> int:
        """For the queues: bytes of a batch that the topic takes."""
        return self._live.limits.get(topic, 2 * MAX_RECORD_BYTES)

    @property
    def compression(self) -> str:
        """For the queues."""
        return self._settings.kafka_compression

    def sent(self, size: int, *, more: bool) -> None:
        """For the queues: what gathered meanwhile becomes their next records."""
        self._pending_bytes -= size
        if more:
            self._launch_soon()


def _parts(envelope: Envelope, most: int) -> list[Envelope]:
    """One envelope, or several where one would be larger than a record should be."""
    if envelope.size <= most or envelope.count == 1:
        return [envelope]
    half = envelope.count // 2
    *first, rest = envelope.lines.split(b"\n", half)
    before = Envelope(envelope.ids[: half * ID_BYTES], b"\n".join([*first, b""]))
    return _parts(before, most) + _parts(Envelope(envelope.ids[half * ID_BYTES :], rest), most)
