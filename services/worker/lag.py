"""How far behind the worker is: end of each assigned partition minus the committed offset, as the brokers say."""

import asyncio

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from prometheus_client import Gauge

from services.runtime.settings import WorkerSettings

LAG = Gauge("headrace_worker_lag_records", "Kafka records that are not stored and committed.", ["topic", "partition"])
_EVERY_S = 1.0


class LagMeter:
    """Measures once a second; `records` is None until the first measurement of an assignment."""

    def __init__(self, app: faust.App, settings: WorkerSettings) -> None:
        self._app = app
        self._settings = settings
        self.records: int | None = None

    async def run(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.kafka_bootstrap.split(","))
        await admin.start()
        try:
            while True:
                try:
                    self.records = await self.measure(admin)
                except (KafkaError, OSError, TimeoutError):
                    self.records = None
                await asyncio.sleep(_EVERY_S)
        finally:
            await admin.close()

    async def measure(self, admin: AIOKafkaAdminClient) -> int | None:
        assigned = set(self._app.consumer.assignment())
        if not assigned or self._app.rebalancing:
            LAG.clear()
            return 0 if self._app.unassigned else None
        ends = await self._app.consumer.highwaters(*assigned)
        starts = await self._app.consumer.earliest_offsets(*assigned)
        committed = await admin.list_consumer_group_offsets(self._settings.worker_group)
        LAG.clear()
        total = 0
        for tp in assigned:
            stored = committed.get(tp)
            behind = max(0, ends[tp] - (starts[tp] if stored is None or stored.offset < 0 else stored.offset))
            LAG.labels(tp.topic, tp.partition).set(behind)
            total += behind
        return total
