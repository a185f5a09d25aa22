"""The edge's event log on a real broker: one record that is refused holds up nothing behind it."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from msgspec import Raw

from services.contract.log.envelope import EventLine
from services.contract.log.event_ids import fresh_ids
from services.contract.log.topics import Partitioning
from services.devstack.apache_kafka import ApacheKafka
from services.edge.event_log.kafka import KafkaEventLog
from services.edge.event_log.port import LogUnavailableError
from services.runtime.kafka import topic_settings, topics_of
from services.runtime.kafka_rights import Client
from services.runtime.kafka_topics import ensure_topics
from services.runtime.keys import Key, Scope
from services.runtime.known import KnownTopic
from services.runtime.settings import EdgeSettings

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SMALL, LARGE = 10, 40_000


@pytest.fixture
def settings(apache: ApacheKafka) -> EdgeSettings:
    return EdgeSettings(
        kafka_bootstrap=apache.bootstrap,
        kafka_topic_prefix=f"t{uuid.uuid4().hex}",
        kafka_partitions=1,
        edge_publish_timeout_s=5,
    )


@pytest.fixture
async def log(settings: EdgeSettings) -> AsyncIterator[KafkaEventLog]:
    async def agree(count: int) -> Partitioning:
        return Partitioning(count)

    event_log = KafkaEventLog(settings, agree)
    await event_log.start()
    yield event_log
    await event_log.stop()


async def append(log: KafkaEventLog, *sizes: int) -> None:
    """An append of events with so many random bytes each."""
    ids = fresh_ids(len(sizes))
    lines = [
        EventLine("shop", i.hex(), "a", "d", NOW, NOW, Raw(b'"%s"' % os.urandom(size // 2).hex().encode()))
        for i, size in zip(ids, sizes, strict=True)
    ]
    await log.append_events(ids, lines)


async def change_topic(settings: EdgeSettings, **changed: Any) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        topic = f"{settings.kafka_topic_prefix}.events"
        configs = {name.replace("_", "."): str(value) for name, value in changed.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    finally:
        await admin.close()


async def refused_within(log: KafkaEventLog, size: int, limit_s: float) -> str:
    """Why. A broker follows a setting a moment after it was changed."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        try:
            await append(log, size)
        except LogUnavailableError as error:
            return str(error)
    raise AssertionError("it was not refused")


async def taken_again_within(log: KafkaEventLog, limit_s: float) -> float:
    began_at = time.monotonic()
    while True:
        try:
            await append(log, SMALL)
        except LogUnavailableError:
            assert time.monotonic() - began_at < limit_s
            await asyncio.sleep(0.1)
        else:
            return time.monotonic() - began_at


async def test_a_partition_takes_events_again_after_one_that_was_too_large(
    log: KafkaEventLog, settings: EdgeSettings
) -> None:
    await append(log, SMALL)
    await change_topic(settings, max_message_bytes=20_000)
    assert "MessageSizeTooLarge" in await refused_within(log, LARGE, 10)
    assert not await log.is_ready()
    await taken_again_within(log, 10)
    assert await log.is_ready()
    # Now that the topic's limit is known, what is larger is not even sent, and what is not goes in smaller records.
    with pytest.raises(LogUnavailableError, match=r"max\.message\.bytes"):
        await append(log, LARGE)
    await append(log, *[2_000] * 30)
    assert await log.is_ready()


async def test_a_partition_takes_events_again_after_a_clock_that_was_wrong(
    log: KafkaEventLog, settings: EdgeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await change_topic(settings, message_timestamp_type="CreateTime", message_timestamp_after_max_ms=3_600_000)
    await append(log, SMALL)
    with monkeypatch.context() as wrong:
        two_hours_ahead = time.time() + 7200
        wrong.setattr("services.edge.event_log.record_batch.time.time", lambda: two_hours_ahead)
        assert "InvalidTimestamp" in await refused_within(log, SMALL, 10)
    await taken_again_within(log, 10)


async def test_the_brokers_clock_counts_on_our_topics(log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    two_hours_ahead = time.time() + 7200
    monkeypatch.setattr("services.edge.event_log.record_batch.time.time", lambda: two_hours_ahead)
    await append(log, SMALL)


async def test_the_last_known_keys_and_partitions_are_in_a_compacted_topic(settings: EdgeSettings) -> None:
    await ensure_topics(settings, Client.EDGE)
    known = KnownTopic(settings)
    assert (await known.read(), await known.read_spread()) == ({}, None)
    shop, blog = Key("shop", frozenset({Scope.INGEST})), Key("blog", frozenset({Scope.INGEST, Scope.QUERY}))
    await known.write({"a": shop, "b": shop})
    await known.write({"a": None, "b": blog})
    await known.write_spread(Partitioning(7))
    assert (await known.read(), await known.read_spread()) == ({"b": blog}, Partitioning(7))
    found = await topic_settings(settings, [topics_of(settings).known])
    assert found[topics_of(settings).known]["cleanup.policy"] == "compact"
