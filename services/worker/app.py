"""The worker's composition root and its Faust wiring: topics to batchers, assignments to the index, shutdown."""

import asyncio
import os
import tempfile
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import faust
import uvloop
from aiokafka.errors import KafkaError
from faust.types import TP, EventT

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import IDS_HEADER
from services.runtime.clickhouse import ClickHouse
from services.runtime.kafka import count_partitions, ensure_topics, topics_of
from services.runtime.logs import configure_logs, get_logger
from services.runtime.memory import keep_large_blocks, memory_limit_bytes
from services.runtime.settings import WorkerSettings
from services.worker.consumer.health import add_pages
from services.worker.consumer.lag import LagMeter
from services.worker.consumer.transport import ChunkConsumer, ChunkTransport, chunk_of
from services.worker.dead_letters import DeadLetterTopic, PoisonGate
from services.worker.dedupe.clickhouse import ExactIds
from services.worker.dedupe.memory import StoredIds
from services.worker.events.block_buffer import Batcher, BlockLimits, Record
from services.worker.events.writer import ClickHouseSink, KnownIds, until_stored
from services.worker.identity.writer import IdentityStore

log = get_logger(__name__)

_IDENTITY_BLOCK = BlockLimits(events=1000, size_bytes=4 * 1024 * 1024, records=1000, age_s=0.2)
_KAFKA_RETRY_S = 1.0
# Of the memory that the process may use; the rest is for two blocks, the client's buffers and Python.
_INDEX_SHARE = 0.6


def create_app(settings: WorkerSettings, partitions: int, data_dir: str) -> faust.App:
    """The Faust application. `partitions` is the events topic's number; `data_dir` an empty folder for Faust."""
    topics = topics_of(settings)
    app = _App(settings.worker_group, **_faust_settings(settings, data_dir))
    app.transport = ChunkTransport(app.conf.broker_consumer, app)
    store = ClickHouse(settings)
    stored_ids = _known_ids(settings, store, partitions)
    dead_letter_topic = _topic(app, topics.dead_letters)
    dead_letters = DeadLetterTopic(lambda value: dead_letter_topic.send(value=value))
    gate = PoisonGate(settings.worker_dead_letter_max_ratio)
    sink = ClickHouseSink(store, stored_ids, dead_letters.put, gate)
    limits = BlockLimits(
        settings.worker_block_events,
        settings.worker_block_bytes,
        settings.worker_block_records,
        settings.worker_block_age_s,
    )
    _consume(app, topics.events, Batcher(limits, sink.store))
    identity = _identity_step(IdentityStore(store), dead_letters.put, gate)
    _consume(app, topics.identity, Batcher(_IDENTITY_BLOCK, identity))

    @app.on_partitions_revoked.connect
    async def revoked(sender: Any, /, *args: Any, signal: Any, **_: Any) -> None:
        stored_ids.revoked(_partitions_of(topics.events, args[0]))

    @app.on_partitions_assigned.connect
    async def assigned(sender: Any, /, *args: Any, signal: Any, **_: Any) -> None:
        stored_ids.assigned(_partitions_of(topics.events, args[0]), cast(ChunkConsumer, app.consumer).membership())

    lag = LagMeter(app, settings)
    app.task(lag.run)
    add_pages(app, store, lag)
    return app


def _known_ids(settings: WorkerSettings, store: ClickHouse, partitions: int) -> KnownIds:
    window_s = settings.worker_dedupe_window_hours * 3600
    if settings.worker_dedupe == "clickhouse":
        return ExactIds(store, window_s)
    max_bytes = settings.worker_index_max_bytes or int(_INDEX_SHARE * memory_limit_bytes())
    return StoredIds(store, window_s, partitions, max_bytes)


def _faust_settings(settings: WorkerSettings, data_dir: str) -> dict[str, Any]:
    """Only as much is buffered before the batcher as keeps it busy: memory must not follow the lag."""
    return {
        "broker": [f"kafka://{address}" for address in settings.kafka_bootstrap.split(",")],
        "datadir": data_dir,
        "store": "memory://",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "consumer_auto_offset_reset": "earliest",
        "broker_commit_interval": 1.0,
        "broker_session_timeout": settings.worker_session_timeout_s,
        "broker_heartbeat_interval": settings.worker_session_timeout_s / 10,
        "broker_max_poll_records": 2000,
        "stream_buffer_maxsize": 4,
        "stream_wait_empty": True,
        "stream_recovery_delay": 0.0,
        "producer_max_request_size": 4 * 1024 * 1024,
        "web_enabled": True,
        "web_bind": settings.worker_host,
        "web_host": settings.worker_host,
        "web_port": settings.worker_port,
    }


def _partitions_of(topic: str, partitions: set[TP]) -> set[int]:
    return {tp.partition for tp in partitions if tp.topic == topic}


def _topic(app: faust.App, name: str) -> Any:
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def _consume(app: faust.App, topic: str, batcher: Batcher) -> None:
    """Feed a topic's records to a batcher. Faust commits only what the batcher has acknowledged."""

    async def read(stream: Any) -> None:
        async for event in stream.noack().events():
            await batcher.add(_records_of(event))

    async def store_blocks() -> None:
        try:
            await batcher.run()
        except Exception as error:
            log.critical("worker_stops", topic=topic, reason=str(error), exc_info=error)
            await app.crash(error)

    app.agent(_topic(app, topic), name=topic)(read)
    app.task(store_blocks)


def _records_of(event: EventT[Any]) -> list[Record]:
    """The records of a chunk. Blocks are stored in order, so the last of them acknowledges them all."""
    records = [
        Record(
            record.topic,
            record.partition,
            record.offset,
            record.value,
            dict(record.headers).get(IDS_HEADER),
            _acknowledged_by_the_last,
            record.timestamp / 1000,
        )
        for record in chunk_of(event.message).records
    ]
    records[-1].acknowledge = event.ack
    return records


def _acknowledged_by_the_last() -> None: ...


def _identity_step(
    identity: IdentityStore, put: Callable[[list[DeadLetter]], Awaitable[None]], gate: PoisonGate
) -> Callable[[list[Record]], Awaitable[None]]:
    async def step(records: list[Record]) -> None:
        bad = await until_stored(lambda: identity.keep(records))
        gate.count(len(records), len(bad))
        await put(bad)

    return step


class _App(faust.App):
    """Faust's application, that can be stopped while the group rebalances."""

    def _on_rebalance_when_stopped(self) -> None:
        """Nothing: the stop that is under way leaves the group when the rebalance is over.

        Faust would close the connections here, and the rebalance then looks for its coordinator for ever.
        """


class _Worker(faust.Worker):
    """Faust's worker, whose end is limited in time, whether it was asked to stop or has crashed.

    Faust waits for what is under way before it sends any signal of its shutdown, however long that takes.
    """

    def __init__(self, app: faust.App, drain_timeout_s: float) -> None:
        super().__init__(app, override_logging=False, redirect_stdouts=False, quiet=True)
        self._drain_timeout_s = drain_timeout_s

    async def stop(self) -> None:
        # A thread: at the very end no event loop runs that could call.
        limit = threading.Timer(self._drain_timeout_s, _give_up, [self._drain_timeout_s])
        limit.daemon = True
        limit.start()
        await super().stop()


def _give_up(after_s: float) -> None:
    """The last insert does not come through. Nothing is lost by leaving: its records are not committed."""
    log.error("drain_timed_out", after_s=after_s)
    os._exit(1)


async def _prepare(settings: WorkerSettings) -> int:
    """Wait for Kafka, make missing topics, and say how many partitions the events topic has."""
    waiting = False
    while True:
        try:
            await ensure_topics(settings)
            return await count_partitions(settings, topics_of(settings).events)
        except (KafkaError, OSError) as error:
            if not waiting:
                log.warning("kafka_not_ready", reason=repr(error))
            waiting = True
            await asyncio.sleep(_KAFKA_RETRY_S)


def main() -> None:
    settings = WorkerSettings()
    configure_logs(settings, "worker")
    keep_large_blocks()
    uvloop.install()  # Faust's own loop and that of its consumer's thread
    partitions = asyncio.run(_prepare(settings))
    log.info("worker_starting", partitions=partitions, host=settings.worker_host, port=settings.worker_port)
    # Faust wants a folder for tables, which are not used here: always the same, so that a killed worker leaves nothing.
    app = create_app(settings, partitions, os.path.join(tempfile.gettempdir(), "headrace-worker"))
    _Worker(app, settings.worker_drain_timeout_s).execute_from_commandline()
