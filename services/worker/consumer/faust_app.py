"""Faust's application: its settings, its end, and how topics are read into blocks."""

import os
import threading
import time
from typing import Any

import faust
from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials
from faust.types import TP, EventT

from services.contract.log.envelope import IDS_HEADER, TRACE_HEADER
from services.runtime.kafka import login_options
from services.runtime.logs import get_logger
from services.runtime.settings import WorkerSettings
from services.worker.consumer.transport import chunk_of
from services.worker.dedupe.window import record_time
from services.worker.events.block_buffer import BlockBuffer
from services.worker.record import Record

log = get_logger(__name__)
# ConsumerRecord.timestamp_type of a topic with message.timestamp.type=LogAppendTime.
_BROKER_TIME = 1


def faust_settings(settings: WorkerSettings, data_dir: str) -> dict[str, Any]:
    """Only as much is buffered before the buffer as keeps it busy: memory must not follow the lag."""
    return {
        "broker": [f"kafka://{address}" for address in settings.kafka_bootstrap.split(",")],
        "broker_credentials": faust_credentials(settings),
        "datadir": data_dir,
        "store": "memory://",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "consumer_auto_offset_reset": "none",  # chunk_thread.py finds the place
        "consumer_group_instance_id": settings.worker_instance_id or None,
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
        # The same for all and always: a member that comes back under its name is given the assignment of its former self,
        # and Faust stops at one with another address.
        "canonical_url": "http://worker",
    }


def faust_credentials(settings: WorkerSettings) -> Credentials | None:
    """The log-in of all clients, in Faust's form."""
    options = login_options(settings)
    context = options.get("ssl_context")
    if provider := options.get("sasl_oauth_token_provider"):
        return OAuthCredentials(oauth_cb=provider, ssl_context=context)
    if mechanism := options.get("sasl_mechanism"):
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context) if context else None


def partitions_of_topic(topic: str, partitions: set[TP]) -> set[int]:
    return {tp.partition for tp in partitions if tp.topic == topic}


def raw_topic(app: faust.App, name: str) -> Any:
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def consume(app: faust.App, topic: str, buffer: BlockBuffer, in_log_s: float) -> None:
    """Feed a topic's records to a buffer. Faust commits only what the buffer has acknowledged. `in_log_s`: how old a
    record in the log can be."""

    async def read(stream: Any) -> None:
        async for event in stream.noack().events():
            await buffer.add(_records_of(event, time.time() - in_log_s))

    async def store_blocks() -> None:
        try:
            await buffer.run()
        except Exception as error:
            log.critical("worker_stops", topic=topic, reason=str(error), exc_info=error)
            await app.crash(error)

    app.agent(raw_topic(app, topic), name=topic)(read)
    app.task(store_blocks)


def _records_of(event: EventT[Any], oldest_s: float) -> list[Record]:
    """The records of a chunk. Blocks are stored in order, so the last of them acknowledges them all."""
    records = [
        Record(
            record.topic,
            record.partition,
            record.offset,
            record.value,
            (headers := dict(record.headers)).get(IDS_HEADER),
            _acknowledged_by_the_last,
            record_time(record.timestamp / 1000, of_broker=record.timestamp_type == _BROKER_TIME, oldest_s=oldest_s),
            headers.get(TRACE_HEADER),
        )
        for record in chunk_of(event.message).records
    ]
    records[-1].acknowledge = event.ack
    return records


def _acknowledged_by_the_last() -> None: ...


class FaustApp(faust.App):
    """Faust's application, that can be stopped while the group rebalances."""

    def _on_rebalance_when_stopped(self) -> None:
        """Nothing: the stop that is under way leaves the group when the rebalance is over.

        Faust would close the connections here, and the rebalance then looks for its coordinator for ever.
        """


class FaustWorker(faust.Worker):
    """Faust's worker, whose end is limited in time, whether it was asked to stop or has crashed.

    Faust waits for what is under way before it sends any signal of its shutdown, however long that takes.
    """

    def __init__(self, app: faust.App, drain_timeout_s: float) -> None:
        super().__init__(app, override_logging=False, redirect_stdouts=False, quiet=True)
        self._drain_timeout_s = drain_timeout_s
        # It writes what moves a terminal's cursor, before a line of the log.
        self.spinner = None

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
