"""The edge's Kafka producer, made again whenever Kafka has refused a record.

aiokafka numbers a partition's records as it takes them. A record that the broker refuses leaves a gap in the numbers,
and the broker then refuses everything behind it, for as long as this producer lives. So does a log that has lost its
end. What is under way on the old producer ends there, acknowledged or not.
"""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
)
from prometheus_client import Counter

from services.runtime.kafka import make_producer, topic_settings, topics_of
from services.runtime.kafka_rights import Client
from services.runtime.kafka_topics import ensure_topics
from services.runtime.logs import get_logger
from services.runtime.retry import retry_until_done
from services.runtime.settings import EdgeSettings

log = get_logger(__name__)
RENEWALS = Counter(
    "headrace_edge_producer_renewals_total", "New Kafka producers because a broker had refused a record."
)
# A client may send again and again what is refused.
_RENEW_EVERY_S = 1.0
_LIMIT = "max.message.bytes"


class LiveProducer:
    """`start` and `stop` once each. `limits`: the largest batch that a topic takes, in bytes, where Kafka says so."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._current: AIOKafkaProducer | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self.limits: dict[str, int] = {}

    @property
    def current(self) -> AIOKafkaProducer:
        """After `start` only."""
        assert self._current is not None  # noqa: S101
        return self._current

    async def start(self) -> dict[str, int]:
        """The number of partitions by topic. Raises KafkaError; may be called again."""
        await self.stop()
        producer = await self._make()
        topics = topics_of(self._settings)
        try:
            counts = {topic: len(await producer.partitions_for(topic)) for topic in (topics.events, topics.identity)}
        except BaseException:
            await producer.stop()
            raise
        self._current = producer
        return counts

    async def _make(self) -> AIOKafkaProducer:
        self.limits = await self._read_limits()
        producer = make_producer(self._settings, timeout_s=self._settings.edge_publish_timeout_s)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _read_limits(self) -> dict[str, int]:
        topics = topics_of(self._settings)
        found = await topic_settings(self._settings, [topics.events, topics.identity])
        return {topic: int(settings[_LIMIT]) for topic, settings in found.items() if _LIMIT in settings}

    def look_at_limits(self) -> None:
        """Something was larger than its topic took when it was last looked at: it may take more by now."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_at_limits())

    async def _look_at_limits(self) -> None:
        try:
            self.limits = await self._read_limits()
        except (KafkaError, OSError) as error:
            log.warning("topic_limits_not_read", reason=repr(error))
        await asyncio.sleep(_RENEW_EVERY_S)

    async def stop(self) -> None:
        """Wait for what is under way, then disconnect."""
        for task in (self._renewing, self._looking):
            if task is not None:
                task.cancel()
        if self._retiring:
            await asyncio.wait(self._retiring)
        current, self._current = self._current, None
        if current is not None:
            await current.stop()

    def failed(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        """A record was not acknowledged on this producer: make a new one, unless it is only that Kafka is away."""
        is_refusal = not error.retriable and not isinstance(error, KafkaTimeoutError)
        if is_refusal and producer is self._current and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew(producer, error))

    async def _renew(self, refused: AIOKafkaProducer, error: KafkaError) -> None:
        log.error("producer_renewed", reason=repr(error))

        async def make() -> AIOKafkaProducer:
            if isinstance(error, TopicAuthorizationFailedError | ClusterAuthorizationFailedError):
                await ensure_topics(self._settings, Client.EDGE)  # says which right is missing, and waits for it
            return await self._make()

        self._current = await retry_until_done(make, (KafkaError, OSError), _RENEW_EVERY_S, log, "producer_not_renewed")
        RENEWALS.inc()
        retiring = asyncio.create_task(refused.stop())
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        await asyncio.sleep(_RENEW_EVERY_S)
