"""Kafka clients as every service sets them up, and the topics as they are created."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from services.contract.log.topics import MAX_RECORD_BYTES, Topics
from services.runtime.logs import get_logger
from services.runtime.settings import KafkaSettings

log = get_logger(__name__)


def topics_of(settings: KafkaSettings) -> Topics:
    return Topics(settings.kafka_topic_prefix)


def make_producer(settings: KafkaSettings, *, timeout_s: float) -> AIOKafkaProducer:
    """A producer whose sends are acknowledged by all in-sync replicas, or fail after about `timeout_s`."""
    return AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap.split(","),
        acks="all",
        enable_idempotence=settings.kafka_idempotence,
        compression_type=None if settings.kafka_compression == "none" else settings.kafka_compression,
        max_batch_size=1024 * 1024,
        max_request_size=2 * MAX_RECORD_BYTES,
        request_timeout_ms=int(timeout_s * 1000),
        retry_backoff_ms=100,
        metadata_max_age_ms=30_000,
    )


async def ensure_topics(settings: KafkaSettings) -> None:
    """Create the topics that are missing. Raises KafkaError (also when no broker answers)."""
    topics = topics_of(settings)
    configs = {
        "min.insync.replicas": str(settings.kafka_min_insync_replicas),
        "retention.ms": str(settings.kafka_retention_hours * 3_600_000),
        "max.message.bytes": str(2 * MAX_RECORD_BYTES),
        # The brokers' clock counts: an edge whose clock is wrong is refused nothing, and the window of ids is of one time.
        "message.timestamp.type": "LogAppendTime",
    }
    compacted = {
        "min.insync.replicas": str(settings.kafka_min_insync_replicas),
        "cleanup.policy": "compact",
    }
    async with _admin(settings) as admin:
        there = set(await admin.list_topics())
        wanted = {
            topics.events: settings.kafka_partitions,
            topics.identity: settings.kafka_partitions,
            topics.dead_letters: 1,
            topics.known: 1,
        }
        configs_of = dict.fromkeys(wanted, configs) | {topics.known: compacted}
        missing = [
            NewTopic(name, partitions, settings.kafka_replication, topic_configs=configs_of[name])
            for name, partitions in wanted.items()
            if name not in there
        ]
        if missing:
            _check(await admin.create_topics(missing))


def _check(response: object) -> None:
    """create_topics answers an error code a topic instead of raising."""
    for topic, code, *_ in getattr(response, "topic_errors", []):
        error = for_code(code)
        if code != 0 and error is not TopicAlreadyExistsError:
            raise error(f"creating {topic}")


async def count_partitions(settings: KafkaSettings, topic: str) -> int:
    """How many partitions a topic has. Raises KafkaError, also when there is no such topic."""
    async with _admin(settings) as admin:
        described = (await admin.describe_topics([topic]))[0]
        if described["error_code"] != 0:
            raise for_code(described["error_code"])(f"describing {topic}")
        if not described["partitions"]:
            raise UnknownTopicOrPartitionError(f"{topic} has no partitions")
        return len(described["partitions"])


async def topic_settings(settings: KafkaSettings, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """The settings in force of each topic, as Kafka names them. None of a topic about which the broker says nothing:
    it is not there, or we may not ask (ACL: DescribeConfigs), or the broker does not know the request."""
    async with _admin(settings) as admin:
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


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","), request_timeout_ms=10_000)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()
