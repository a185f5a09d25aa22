"""How far behind the worker is: end of each assigned partition minus the committed offset, as the brokers say."""

import asyncio

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Gauge

from services.runtime.logs import get_logger
from services.runtime.settings import WorkerSettings

log = get_logger(__name__)

LAG = Gauge("headrace_worker_lag_records", "Kafka records that are not stored and committed.", ["topic", "partition"])
_EVERY_S = 1.0


class LagMeter:
    """Measures once a second; `records` is None until the first measurement of an assignment."""

    def __init__(self, app: faust.App, settings: WorkerSettings) -> None:
        self._app = app
        self._settings = settings
        self._offsets: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()
        self.records: int | None = None

    async def run(self) -> None:
        # A consumer that never subscribes: it only asks for offsets, and takes no partitions from the group.
        offsets = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap.split(","),
            group_id=self._settings.worker_group,
            enable_auto_commit=False,
        )
        await offsets.start()
        self._offsets = offsets
        try:
            while True:
                await self.measure()
                await asyncio.sleep(_EVERY_S)
        finally:
            await offsets.stop()

    async def measure(self) -> int | None:
        """Measure now."""
        async with self._asking:
            try:
                self.records = None if self._offsets is None else await self._ask(self._offsets)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("lag_not_measured", reason=repr(error))
                self.records = None
            return self.records

    async def _ask(self, offsets: AIOKafkaConsumer) -> int | None:
        if self._app.rebalancing:
            return None
        assigned = [TopicPartition(tp.topic, tp.partition) for tp in self._app.consumer.assignment()]
        LAG.clear()
        if not assigned:
            return 0 if self._app.unassigned else None
        offsets.assign(assigned)
        ends = await offsets.end_offsets(assigned)
        starts = await offsets.beginning_offsets(assigned)
        total = 0
        for tp in assigned:
            committed = await offsets.committed(tp)
            behind = max(0, ends[tp] - (starts[tp] if committed is None else committed))
            LAG.labels(tp.topic, tp.partition).set(behind)
            total += behind
        return total
