"""Kafka clients as every service and tool sets them up: where the brokers are, and how one logs in to them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError, for_code

from services.contract.log.topics import MAX_RECORD_BYTES, Topics
from services.runtime.kafka_failures import KafkaRefusedError, why_unreachable
from services.runtime.logs import get_logger
from services.runtime.settings import KafkaSettings
from services.runtime.tls import FreshContext, TlsFilesError
from services.runtime.tokens import ClientCredentials, Fetch, Tokens, load_hook

log = get_logger(__name__)


def topics_of(settings: KafkaSettings) -> Topics:
    return Topics(settings.kafka_topic_prefix)


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """What every client of aiokafka is made with. Raises KafkaRefusedError for certificates that cannot be read now."""
    return {"bootstrap_servers": settings.kafka_bootstrap.split(","), **login_options(settings)}


def login_options(settings: KafkaSettings) -> dict[str, Any]:
    """The security protocol and what it needs."""
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if settings.kafka_has_tls:
        try:
            options["ssl_context"] = FreshContext.of(settings.kafka_tls_files)
        except TlsFilesError as error:
            # They could at the start: they are being renewed, and whoever waits for Kafka waits for them.
            raise KafkaRefusedError(str(error)) from error
    if settings.kafka_security_protocol.startswith("SASL_"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = _tokens(settings)
        else:
            options["sasl_plain_username"] = settings.kafka_sasl_username
            options["sasl_plain_password"] = settings.kafka_sasl_password
    return options


@lru_cache
def _tokens(settings: KafkaSettings) -> Tokens:
    """One for all clients of the process: they share its token."""
    fetch: Fetch
    if settings.kafka_oauth_hook:
        fetch = load_hook(settings.kafka_oauth_hook)
    else:
        fetch = ClientCredentials(
            settings.kafka_oauth_token_url,
            settings.kafka_oauth_client_id,
            settings.kafka_oauth_client_secret,
            settings.kafka_oauth_scope,
            settings.kafka_ca_file,
        )
    pairs = settings.kafka_oauth_extensions.split(",") if settings.kafka_oauth_extensions else []
    return Tokens(fetch, dict(pair.split("=", 1) for pair in pairs))


async def start_consumer(consumer: AIOKafkaConsumer) -> None:
    """As its own `start`, to the end also when we are cancelled meanwhile: aiokafka would leave its connection open."""
    starting = asyncio.create_task(consumer.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if not starting.cancelled():
            starting.exception()  # what became of it does not matter any more
        raise


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """In the place of its own `stop`, which cancels its tasks and awaits them. One that rests after a failed fetch, or has not
    had its first step, hands that on: whoever awaits `stop` ends as if they had been cancelled, without a word."""
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait([stopping])
    if stopping.cancelled():
        await consumer._client.close()  # to which it did not come
    else:
        stopping.result()


def make_producer(settings: KafkaSettings, *, timeout_s: float) -> AIOKafkaProducer:
    """A producer whose sends are acknowledged by all in-sync replicas, or fail after about `timeout_s`."""
    return AIOKafkaProducer(
        **client_options(settings),
        acks="all",
        enable_idempotence=settings.kafka_idempotence,
        compression_type=None if settings.kafka_compression == "none" else settings.kafka_compression,
        max_batch_size=1024 * 1024,
        max_request_size=2 * MAX_RECORD_BYTES,
        request_timeout_ms=int(timeout_s * 1000),
        retry_backoff_ms=100,
        metadata_max_age_ms=30_000,
    )


@asynccontextmanager
async def admin_client(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connected. Raises KafkaRefusedError, which says what to change, where no broker lets us in."""
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=10_000)
    try:
        try:
            await admin.start()
            if not admin._client.cluster.brokers():
                raise KafkaConnectionError("no broker is named")
        except KafkaConnectionError as error:
            why = await why_unreachable(settings, login_options(settings))
            raise KafkaRefusedError(why or "Kafka did not answer, and does now") from error
        yield admin
    finally:
        await admin.close()


class Outage:
    """While Kafka is away: finds out why, beside what goes on, and says each reason once."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._said = ""
        self._looking: asyncio.Task[None] | None = None

    def over(self) -> None:
        self._said = ""

    def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    def look(self) -> None:
        """Does not wait. One look at a time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        try:
            reason = await why_unreachable(self._settings, login_options(self._settings))
        except KafkaRefusedError as error:
            reason = str(error)
        if reason and reason != self._said:
            log.error("kafka_unreachable", reason=reason)
        self._said = reason


async def count_partitions(settings: KafkaSettings, topic: str) -> int:
    """How many partitions a topic has. Raises KafkaError, also when there is no such topic."""
    async with admin_client(settings) as admin:
        described = (await admin.describe_topics([topic]))[0]
        if described["error_code"] != 0:
            raise for_code(described["error_code"])(f"describing {topic}")
        if not described["partitions"]:
            raise UnknownTopicOrPartitionError(f"{topic} has no partitions")
        return len(described["partitions"])


async def topic_settings(settings: KafkaSettings, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """The settings in force of each topic, as Kafka names them. None of a topic about which the broker says nothing:
    it is not there, or we may not ask (ACL: DescribeConfigs), or the broker does not know the request."""
    async with admin_client(settings) as admin:
        return await settings_in_force(admin, topics)


async def settings_in_force(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """As `topic_settings`."""
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in topics])
    except (KafkaError, TimeoutError) as error:
        log.warning("topic_settings_not_read", reason=repr(error))
        return {}
    return {
        name: {entry[0]: entry[1] for entry in entries if entry[1] is not None}
        for answer in answers
        for code, _, _, name, entries in answer.resources
        if code == 0
    }
