"""The worker's composition root: topics to buffers, assignments to the index, shutdown."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any, cast

import faust
import uvloop
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.topics import Partitioning
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.kafka import count_partitions, topics_of
from services.runtime.kafka_rights import Client
from services.runtime.kafka_topics import ensure_topics
from services.runtime.logs import get_logger
from services.runtime.memory import keep_large_blocks, memory_limit_bytes
from services.runtime.partitioning import PartitioningError, agreed_partitioning
from services.runtime.retry import retry_until_done
from services.runtime.settings import WorkerSettings
from services.runtime.start import start_service
from services.runtime.store_version import LOWEST_VERSION, refuse_old_version
from services.runtime.traces import traces_of
from services.schema.agreement import agree_with_schema
from services.worker.consumer.faust_app import (
    FaustApp,
    FaustWorker,
    consume,
    faust_settings,
    partitions_of_topic,
    raw_topic,
)
from services.worker.consumer.former_group import take_over_former_group
from services.worker.consumer.health import add_health
from services.worker.consumer.lag import LagMeter
from services.worker.consumer.store_restarts import Again, StoreRestarts
from services.worker.consumer.transport import ChunkConsumer, ChunkTransport
from services.worker.dead_letters import DeadLetterTopic, PoisonGate
from services.worker.dedupe.clickhouse import ClickHouseDedupe
from services.worker.dedupe.memory import MemoryDedupe
from services.worker.dedupe.port import Dedupe
from services.worker.events.block_buffer import BlockBuffer, BlockLimits
from services.worker.events.restore import EventRestorer
from services.worker.events.writer import EventWriter
from services.worker.identity.writer import IdentityStore
from services.worker.record import Record
from services.worker.traced import Store, traced_store
from services.worker.until_stored import until_stored

log = get_logger(__name__)
REBALANCES = Counter("headrace_worker_rebalances_total", "How often the group gave this worker its partitions.")
_IDENTITY_BLOCK = BlockLimits(events=1000, size_bytes=4 * 1024 * 1024, records=1000, age_s=0.2)
_KAFKA_RETRY_S = 1.0
# Of the memory that the process may use; the rest is for two blocks, the client's buffers and Python.
_INDEX_SHARE = 0.6


def create_app(settings: WorkerSettings, spread: Partitioning, data_dir: str) -> faust.App:
    """The Faust application. `spread`: of the events topic; `data_dir`: an empty folder for Faust."""
    topics, traces = topics_of(settings), traces_of(settings, "worker")
    app = FaustApp(settings.group, **faust_settings(settings, data_dir))
    app.transport = ChunkTransport(app.conf.broker_consumer, app)
    app.transport.kafka = settings
    store = ClickHouse(settings, lowest_version=LOWEST_VERSION)
    dedupe = _make_dedupe(settings, store, spread)
    dead_letter_topic = raw_topic(app, topics.dead_letters)
    dead_letters = DeadLetterTopic(lambda value: dead_letter_topic.send(value=value))
    gate = PoisonGate(settings.worker_dead_letter_max_ratio)
    sink = EventWriter(store, dedupe, dead_letters.put, gate, spread)
    limits = BlockLimits(
        settings.worker_block_events,
        settings.worker_block_bytes,
        settings.worker_block_records,
        settings.worker_block_age_s,
    )
    in_log_s = (settings.kafka_retention_hours + settings.worker_dedupe_window_hours) * 3600
    events: Store = sink.store
    identity: Store = _identity_step(IdentityStore(store), dead_letters.put, gate)
    if traces is not None:
        events, identity = (
            traced_store(traces, "store events", events),
            traced_store(traces, "store identity", identity),
        )
    consume(app, topics.events, BlockBuffer(limits, events), in_log_s)
    consume(app, topics.identity, BlockBuffer(_IDENTITY_BLOCK, identity), in_log_s)

    @app.on_partitions_revoked.connect
    async def revoked(sender: Any, /, *args: Any, signal: Any, **_: Any) -> None:
        dedupe.revoked(partitions_of_topic(topics.events, args[0]))

    @app.on_partitions_assigned.connect
    async def assigned(sender: Any, /, *args: Any, signal: Any, **_: Any) -> None:
        REBALANCES.inc()
        dedupe.assigned(partitions_of_topic(topics.events, args[0]), cast(ChunkConsumer, app.consumer).membership())

    lag = LagMeter(app, settings)
    app.task(lag.run)
    restarts = StoreRestarts(
        store,
        settings,
        settings.worker_read_again_minutes,
        lambda: cast(ChunkConsumer, app.consumer).read_until(),
        [
            Again(topics.identity, lambda records: _identity_again(IdentityStore(store), records)),
            Again(topics.events, EventRestorer(store, settings.worker_dedupe_window_hours * 3600).store_missing),
        ],
    )
    app.task(restarts.run)
    add_health(app, store, lag)
    return app


def _make_dedupe(settings: WorkerSettings, store: ClickHouse, spread: Partitioning) -> Dedupe:
    window_s = settings.worker_dedupe_window_hours * 3600
    if settings.worker_dedupe == "clickhouse":
        return ClickHouseDedupe(store, window_s)
    max_bytes = settings.worker_index_max_bytes or int(_INDEX_SHARE * memory_limit_bytes())
    return MemoryDedupe(store, window_s, spread, max_bytes)


def _identity_step(
    identity: IdentityStore, put: Callable[[list[DeadLetter]], Awaitable[None]], gate: PoisonGate
) -> Callable[[list[Record]], Awaitable[None]]:
    async def step(records: list[Record]) -> None:
        bad = await until_stored(lambda: identity.keep(records))
        gate.count(len(records), len(bad))
        await put(bad)

    return step


async def _identity_again(identity: IdentityStore, records: list[Record]) -> int:
    """Messages that are there change nothing. What is no message became a dead letter when it was first read."""
    await until_stored(lambda: identity.keep(records))
    return identity.appended


async def _prepare(settings: WorkerSettings) -> Partitioning:
    """Wait for Kafka and ClickHouse, make missing topics, and say how ids are spread over the events topic."""
    topic, store = topics_of(settings).events, ClickHouse(settings)

    async def agree() -> Partitioning:
        await ensure_topics(settings, Client.WORKER, settings.group)
        await take_over_former_group(settings)
        return await agreed_partitioning(store, topic, await count_partitions(settings, topic), write=True)

    failures = (KafkaError, OSError, StoreError, PartitioningError)
    try:
        return await retry_until_done(agree, failures, _KAFKA_RETRY_S, log, "not_ready_to_start")
    finally:
        await store.close()


def main() -> None:
    settings = start_service(WorkerSettings, "worker")
    keep_large_blocks()
    uvloop.install()  # Faust's own loop and that of its consumer's thread
    asyncio.run(refuse_old_version(settings))
    asyncio.run(agree_with_schema(settings))
    spread = asyncio.run(_prepare(settings))
    log.info("worker_starting", partitions=spread.partitions, host=settings.worker_host, port=settings.worker_port)
    # Faust wants a folder for tables, which are not used here: always the same, so that a killed worker leaves nothing.
    app = create_app(settings, spread, os.path.join(tempfile.gettempdir(), "headrace-worker"))
    FaustWorker(app, settings.worker_drain_timeout_s).execute_from_commandline()
