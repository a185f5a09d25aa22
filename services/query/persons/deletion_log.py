"""What deletions write into the event log, and how they know what workers have done. The port, and Kafka."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.contract.log.marks import DeletionLine, identity_partition
from services.runtime.kafka import client_options, make_producer, topics_of
from services.runtime.logs import get_logger
from services.runtime.settings import QuerySettings

log = get_logger(__name__)
# Of each partition of the events topic, the offset of a mark.
Places = Mapping[int, int]
_TIMEOUT_S = 10.0


class LogUnavailableError(Exception):
    """Kafka did not acknowledge, or did not answer. What was written may be there."""


class DeletionLog(Protocol):
    """Methods raise LogUnavailableError."""

    async def announce(self, line: DeletionLine) -> None:
        """Behind all merges of the project that were acknowledged; twice does no harm."""

    async def mark(self, mark: bytes) -> Places:
        """In each partition, behind all events that were acknowledged."""

    async def is_past(self, places: Places) -> bool:
        """Whether all that lies before these marks is stored, and the marks were seen."""

    async def stop(self) -> None: ...


class KafkaDeletionLog:
    """Connects at the first use, and again after each failure."""

    def __init__(self, settings: QuerySettings) -> None:
        self._settings = settings
        self._topics = topics_of(settings)
        self._producer: AIOKafkaProducer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._connecting = asyncio.Lock()

    async def announce(self, line: DeletionLine) -> None:
        try:
            producer = await self._connected()
            count = len(await producer.partitions_for(self._topics.identity))
            partition = identity_partition(line.project_id, count)
            await producer.send_and_wait(self._topics.identity, line.encode(), partition=partition)
        except (KafkaError, OSError, TimeoutError) as error:
            raise await self._failed(error) from error

    async def mark(self, mark: bytes) -> Places:
        topic = self._topics.events
        try:
            producer = await self._connected()
            sent = [
                await producer.send(topic, mark, partition=partition)
                for partition in sorted(await producer.partitions_for(topic))
            ]
            written = await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError) as error:
            raise await self._failed(error) from error
        return {one.partition: one.offset for one in written}

    async def is_past(self, places: Places) -> bool:
        try:
            await self._connected()
            assert self._admin is not None  # noqa: S101
            asked = [TopicPartition(self._topics.events, partition) for partition in places]
            async with asyncio.timeout(_TIMEOUT_S):
                committed = await self._admin.list_consumer_group_offsets(self._settings.group, partitions=asked)
        except (KafkaError, OSError, TimeoutError) as error:
            raise await self._failed(error) from error
        return all(tp in committed and committed[tp].offset > places[tp.partition] for tp in asked)

    async def stop(self) -> None:
        producer, self._producer = self._producer, None
        admin, self._admin = self._admin, None
        for client in (producer and producer.stop(), admin and admin.close()):
            if client is not None:
                with suppress(KafkaError, OSError, TimeoutError):
                    await client

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                producer = make_producer(self._settings, timeout_s=_TIMEOUT_S)
                admin = AIOKafkaAdminClient(**client_options(self._settings), request_timeout_ms=int(_TIMEOUT_S * 1000))
                try:
                    async with asyncio.timeout(_TIMEOUT_S):
                        await producer.start()
                        await admin.start()
                except BaseException:
                    await producer.stop()
                    await admin.close()
                    raise
                self._producer, self._admin = producer, admin
            return self._producer

    async def _failed(self, error: BaseException) -> LogUnavailableError:
        log.warning("log_not_reached", reason=repr(error))
        await self.stop()
        return LogUnavailableError(repr(error))
