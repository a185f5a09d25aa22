"""What the edge says of a log that failed, a while later."""

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from services.edge.event_log.port import LogUnavailableError
from tests.unit.edge.test_event_log import failing_partitions, lines_for, ready_log


async def test_a_failure_of_long_ago_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge that is not ready gets no requests, and must not stay so for ever."""
    ready = await ready_log(monkeypatch, edge_publish_timeout_s=0.1)
    ready.producer.failure = KafkaConnectionError("gone")
    with pytest.raises(LogUnavailableError):
        await ready.log.append_events([bytes(16)], lines_for([bytes(16)]))
    await asyncio.sleep(0.3)
    assert failing_partitions() == 0
    await ready.log.stop()
