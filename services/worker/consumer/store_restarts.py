"""ClickHouse acknowledges an insert before the disk has it. A machine that loses its power loses the last of them.

So a worker looks for servers that were started again. What it has read in the last minutes in which inserts were taken it then
reads once more, beside the fresh records, and what is missing is stored again. Neither the time for which the server was away
counts, nor how old the records were when they were read. At its own start it does not: see docs/explanation/exactly-once.md.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct
from prometheus_client import Counter, Gauge

from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.cluster import REPLICAS_SQL, SHARDS_SQL, on_replicas, replicas_of, shards_without_majority
from services.runtime.logs import get_logger
from services.runtime.operator_errors import OperatorError
from services.runtime.retry import retry_until_done
from services.runtime.settings import KafkaSettings
from services.worker.consumer.log_range import records_since
from services.worker.record import Record

log = get_logger(__name__)
RESTARTS = Counter("headrace_worker_store_restarts_total", "ClickHouse servers that were found to have started again.")
READING_AGAIN = Gauge("headrace_worker_reading_again_partitions", "Partitions whose last minutes are being read again.")
_LOOK_EVERY_S = 2.0
_RETRY_S = 2.0
# Ages are whole seconds, and the clocks of two machines do not run alike.
_AGE_ERROR_S = 1.5
# A younger server cannot be told from one that starts once more right after the look.
_YOUNGEST_S = 2
# How often it is noted how far was read.
_NOTE_EVERY_S = 10.0
_AGE_SQL = "SELECT 1, hostName(), uptime()"
# By their numbers: several may run on one machine. Those that are away are looked at when they are back.
_AGES_SQL = "SELECT _shard_num, concat(hostName(), ', replica ', toString(_shard_num)), uptime() FROM "

Ends = Mapping[TopicPartition, int]


class TooYoungError(Exception):
    """A server has just started: it is looked at again a moment later."""


class ShardsChangedError(OperatorError):
    """Ids go to other shards than when this worker began: a block that is tried again could lie on two of them."""


class Again(Struct, frozen=True):
    """A topic whose records are read again, and what is done with them: the number of what was missing comes back."""

    topic: str
    store_missing: Callable[[list[Record]], Awaitable[int]]


class StoreRestarts:
    """`read_until`: of each assigned partition, the offset before which all was read. `minutes`: 0 turns it off."""

    def __init__(
        self, store: ClickHouse, kafka: KafkaSettings, minutes: int, read_until: Callable[[], Ends], topics: list[Again]
    ) -> None:
        self._store = store
        self._kafka = kafka
        self._minutes = minutes
        self._read_until = read_until
        self._topics = topics
        # By server: its age at the last look, and when it had answered, by the clock of this machine's start.
        self._ages: dict[str, tuple[int, float]] = {}
        self._held: Ends = {}
        # When all shards had servers enough for inserts, and how far was read by some of these times.
        self._taken_at: float | None = None
        self._notes: deque[tuple[float, Ends]] = deque()
        self._shards: list[tuple[object, ...]] = []

    async def run(self) -> None:
        """Looks for ever. On a cluster also where nothing is to be read again: its shards may change."""
        while self._minutes or self._store.cluster:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                taken_until_s = await self.look()
            except (StoreError, TooYoungError):
                continue  # it is away, or has just come back: the next look says whether it has started again
            # A partition that has just gone to another worker was read by us when the server started.
            held_before, self._held = self._held, self._read_until()
            ends = {**held_before, **self._held}
            if taken_until_s is not None and self._minutes:
                since_s = taken_until_s - self._minutes * 60
                await self.read_again(since_s, ends, self._read_before(since_s))
            self._note(ends)

    async def look(self) -> float | None:
        """When a server that is known was started again: the Unix time of when inserts were last taken before; None when none
        was. Raises StoreError, TooYoungError and ShardsChangedError."""
        await self._compare_shards()
        asked_at = time.monotonic()
        ages = await self._read_ages()
        if any(age_s < _YOUNGEST_S for _, _, age_s in ages):
            raise TooYoungError
        started = [self._started_s(host, age_s, asked_at) for _, host, age_s in ages]
        taken_at = self._taken_at
        if taken_at is None or await self._takes_inserts([number for number, _, _ in ages]):
            self._taken_at = asked_at
        times = [at_s for at_s in started if at_s is not None]
        if not times:
            return None
        return min([*times, time.time() - (time.monotonic() - (asked_at if taken_at is None else taken_at))])

    async def _takes_inserts(self, answered: list[int]) -> bool:
        cluster = self._store.cluster
        if not cluster:
            return True
        replicas = replicas_of(await self._store.rows(REPLICAS_SQL, {"cluster": cluster}))  # type: ignore[arg-type]
        return not shards_without_majority(replicas, answered)

    def _note(self, ends: Ends) -> None:
        """How far was read, while inserts are taken; as far back as it can be asked for."""
        if self._taken_at is None or (self._notes and self._taken_at - self._notes[-1][0] < _NOTE_EVERY_S):
            return
        self._notes.append((self._taken_at, ends))
        while len(self._notes) > 1 and self._notes[1][0] <= self._taken_at - self._minutes * 60 - _NOTE_EVERY_S:
            self._notes.popleft()

    def _read_before(self, since_s: float) -> Ends:
        """How far was read at that Unix time; of a partition that came later, when it came."""
        since_at = time.monotonic() - (time.time() - since_s)
        begins: dict[TopicPartition, int] = {}
        for at, ends in reversed(self._notes):
            begins.update(ends)
            if at <= since_at:
                break
        return begins

    async def _compare_shards(self) -> None:
        cluster = self._store.cluster
        if not cluster:
            return
        shards = [tuple(row) for row in await self._store.rows(SHARDS_SQL, {"cluster": cluster})]
        if self._shards and shards != self._shards:
            raise ShardsChangedError(
                f"the shards of cluster {cluster} changed: start again. Stop the workers before you change them "
                "(docs/how-to/cluster.md)"
            )
        self._shards = shards

    async def _read_ages(self) -> list[tuple[int, str, int]]:
        cluster = self._store.cluster
        sql = _AGES_SQL + on_replicas(cluster, "system.one") if cluster else _AGE_SQL
        rows = await self._store.rows(sql, settings={"skip_unavailable_shards": 1} if cluster else None)
        return [(number, host, age_s) for number, host, age_s in rows]

    def _started_s(self, host: str, age_s: int, asked_at: float) -> float | None:
        before_s, before_at = self._ages.get(host, (0, asked_at))
        self._ages[host] = age_s, time.monotonic()
        # A server that has run on is older by the time in between.
        if age_s + _AGE_ERROR_S >= before_s + asked_at - before_at:
            return None
        RESTARTS.inc()
        log.warning("store_restarted", host=host, age_s=age_s)
        return time.time() - float(age_s)

    async def read_again(self, since_s: float, ends: Ends, begins: Ends) -> None:
        """Store again what is missing of the records since then, and of those from `begins` on. Begins again where Kafka does
        not answer."""
        READING_AGAIN.set(len(ends))
        try:
            for topic in self._topics:
                of_topic = {tp: end for tp, end in ends.items() if tp.topic == topic.topic}
                await retry_until_done(
                    lambda topic=topic, of_topic=of_topic: self._read_topic(topic, since_s, of_topic, begins),  # type: ignore[misc]
                    (KafkaError, OSError),
                    _RETRY_S,
                    log,
                    "log_not_read_again",
                )
        finally:
            READING_AGAIN.set(0)

    async def _read_topic(self, topic: Again, since_s: float, ends: Ends, begins: Ends) -> None:
        read = missing = 0
        async for records in records_since(self._kafka, since_s, ends, begins):
            read += len(records)
            missing += await topic.store_missing(records)
        log.warning("read_again", topic=topic.topic, since=since_s, records=read, missing=missing)
