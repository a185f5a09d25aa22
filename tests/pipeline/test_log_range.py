"""A stretch of the log is read beside the consumer group, on a real broker."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.devstack.apache_kafka import ApacheKafka
from services.runtime.settings import KafkaSettings
from services.worker.consumer.log_range import records_since

TIMEOUT_S = 20


@pytest.fixture
async def topic(apache: ApacheKafka) -> str:
    """Of two partitions; the broker says when a record was written."""
    name = f"t{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=apache.bootstrap)
    await admin.start()
    try:
        settings = {"message.timestamp.type": "LogAppendTime"}
        await admin.create_topics([NewTopic(name, 2, 1, topic_configs=settings)])
    finally:
        await admin.close()
    return name


@pytest.fixture
async def producer(apache: ApacheKafka) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=apache.bootstrap) as producer:
        yield producer


async def read(
    apache: ApacheKafka,
    since_s: float,
    ends: dict[TopicPartition, int],
    begins: dict[TopicPartition, int] | None = None,
) -> list[tuple[int, int]]:
    """Partition and offset of each record, in the order of reading."""
    async with asyncio.timeout(TIMEOUT_S):
        found = [
            records
            async for records in records_since(
                KafkaSettings(kafka_bootstrap=apache.bootstrap), since_s, ends, begins or {}
            )
        ]
    assert all(len({record.partition for record in records}) == 1 for records in found)
    return [(record.partition, record.offset) for records in found for record in records]


async def test_from_a_time_up_to_an_offset(apache: ApacheKafka, topic: str, producer: AIOKafkaProducer) -> None:
    for at in range(3):
        await producer.send_and_wait(topic, b"before", partition=at % 2)
    await asyncio.sleep(0.05)
    since_s = time.time()
    await asyncio.sleep(0.05)
    for at in range(7):
        await producer.send_and_wait(topic, b"since", partition=at % 2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    # 0, 1 | 2, 3, 4, 5 in the first partition; 0 | 1, 2, 3 in the second.
    assert await read(apache, since_s, {first: 5, second: 4}) == [(0, 2), (0, 3), (0, 4), (1, 1), (1, 2), (1, 3)]
    assert await read(apache, 0, {second: 2}) == [(1, 0), (1, 1)]
    assert await read(apache, time.time() + 60, {first: 6, second: 4}) == []
    assert await read(apache, time.time() + 60, {first: 6, second: 4}, {first: 4}) == [(0, 4), (0, 5)]
    assert await read(apache, since_s, {first: 4, second: 2}, {first: 1, second: 3}) == [(0, 1), (0, 2), (0, 3), (1, 1)]
    assert await read(apache, since_s, {}) == []
    assert await read(apache, 0, {first: 0}) == []
