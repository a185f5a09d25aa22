"""Kafka clients as every service sets them up, and the topics as they are created."""

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from services.contract.log.topics import MAX_RECORD_BYTES, Topics
from services.runtime.settings import KafkaSettings


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
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","), request_timeout_ms=10_000)
    try:
        await admin.start()
        there = set(await admin.list_topics())
        wanted = {
            topics.events: settings.kafka_partitions,
            topics.identity: settings.kafka_partitions,
            topics.dead_letters: 1,
        }
        missing = [
            NewTopic(name, partitions, settings.kafka_replication, topic_configs=configs)
            for name, partitions in wanted.items()
            if name not in there
        ]
        if missing:
            _check(await admin.create_topics(missing))
    finally:
        await admin.close()


def _check(response: object) -> None:
    """create_topics answers an error code a topic instead of raising."""
    for topic, code, *_ in getattr(response, "topic_errors", []):
        error = for_code(code)
        if code != 0 and error is not TopicAlreadyExistsError:
            raise error(f"creating {topic}")


async def count_partitions(settings: KafkaSettings, topic: str) -> int:
    """How many partitions a topic has. Raises KafkaError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","), request_timeout_ms=10_000)
    try:
        await admin.start()
        described = await admin.describe_topics([topic])
        return len(described[0]["partitions"])
    finally:
        await admin.close()
