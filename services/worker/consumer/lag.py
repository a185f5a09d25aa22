"""How far behind the worker is, as the brokers say: records that are not stored, the age of the oldest of them, and how
long the log keeps them."""

import asyncio
import time
from collections.abc import Mapping

import faust
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import BrokerResponseError, KafkaError
from prometheus_client import Gauge

from services.runtime.kafka import Outage, admin_client, topic_settings
from services.runtime.log_reader import LogReader
from services.runtime.logs import get_logger
from services.runtime.retry import retry_until_done
from services.runtime.settings import WorkerSettings

log = get_logger(__name__)

LAG = Gauge("headrace_worker_lag_records", "Kafka records that are not stored and committed.", ["topic", "partition"])
OLDEST = Gauge(
    "headrace_worker_oldest_unstored_seconds",
    "Age of the oldest record that is not stored; 0 while none is older than some seconds.",
    ["topic", "partition"],
)
RETENTION = Gauge("headrace_worker_retention_seconds", "How long a topic keeps its records.", ["topic"])
_EVERY_S = 1.0
# What was in the log at the last look and is still not stored is worth a look at its time.
_AGES_EVERY_S = 10.0
_RETENTION_EVERY_S = 60.0


class LagMeter:
    """Measures once a second; `records` is None until the first measurement of an assignment."""

    def __init__(self, app: faust.App, settings: WorkerSettings) -> None:
        self._app = app
        self._settings = settings
        self._reader: LogReader | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._asking = asyncio.Lock()
        self._outage = Outage(settings)
        self._ends_before: dict[TopicPartition, int] = {}
        self._ages_due_at = self._retention_due_at = 0.0
        self.records: int | None = None

    async def run(self) -> None:
        """For ever: also where Kafka does not let us in just now."""
        await retry_until_done(self._run, (KafkaError, OSError), _EVERY_S, log, "lag_not_measured")

    async def _run(self) -> None:
        async with LogReader.connected(self._settings) as self._reader, admin_client(self._settings) as self._admin:
            while True:
                await self.measure()
                await asyncio.sleep(_EVERY_S)

    async def measure(self) -> int | None:
        """Measure now."""
        async with self._asking:
            try:
                if self._reader is None or self._admin is None or self._app.rebalancing:
                    self.records = None
                else:
                    self.records = await self._measure(self._reader, self._admin)
                    self._outage.over()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("lag_not_measured", reason=repr(error))
                self.records = None
                if not isinstance(error, BrokerResponseError):
                    self._outage.look()
            return self.records

    async def _measure(self, reader: LogReader, admin: AIOKafkaAdminClient) -> int | None:
        assigned = [TopicPartition(tp.topic, tp.partition) for tp in self._app.consumer.assignment()]
        LAG.clear()
        if not assigned:
            OLDEST.clear()
            return 0 if self._app.unassigned else None
        committed = await admin.list_consumer_group_offsets(self._settings.group, partitions=assigned)
        bounds = await reader.bounds(assigned)
        if len(bounds) < len(assigned):
            raise KafkaError("some partitions have no leader that answers")
        # Without a commit all of the log is behind.
        places = {
            tp: at.offset if (at := committed.get(tp)) and at.offset >= 0 else bounds[tp].start for tp in assigned
        }
        for tp, place in places.items():
            LAG.labels(tp.topic, tp.partition).set(max(0, bounds[tp].end - place))
        await self._measure_ages(reader, places, {tp: bounds[tp].end for tp in assigned})
        await self._measure_retention({tp.topic for tp in assigned})
        return sum(max(0, bounds[tp].end - place) for tp, place in places.items())

    async def _measure_ages(
        self, reader: LogReader, places: Mapping[TopicPartition, int], ends: dict[TopicPartition, int]
    ) -> None:
        if time.monotonic() < self._ages_due_at:
            return
        behind = {tp: place for tp, place in places.items() if place < min(self._ends_before.get(tp, 0), ends[tp])}
        oldest = await reader.records(behind)
        OLDEST.clear()
        for tp in places:
            record = oldest.get(tp)
            OLDEST.labels(tp.topic, tp.partition).set(max(0.0, time.time() - record.timestamp / 1000) if record else 0)
        self._ends_before = ends
        self._ages_due_at = time.monotonic() + _AGES_EVERY_S

    async def _measure_retention(self, topics: set[str]) -> None:
        if time.monotonic() >= self._retention_due_at:
            for topic, found in (await topic_settings(self._settings, sorted(topics))).items():
                retention_ms = int(found.get("retention.ms", -1))
                RETENTION.labels(topic).set(retention_ms / 1000 if retention_ms >= 0 else float("inf"))
            self._retention_due_at = time.monotonic() + _RETENTION_EVERY_S
