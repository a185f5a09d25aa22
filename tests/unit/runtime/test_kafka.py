"""Topics are created where they are missing, with their settings, and a refusal is not taken for success."""

from typing import Any

import pytest
from aiokafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError
from msgspec import Struct

from services.runtime.kafka import ensure_topics
from services.runtime.settings import KafkaSettings


class Created(Struct):
    topic_errors: list[tuple[str, int, str]]


class Admin:
    """What ensure_topics uses of the admin client."""

    def __init__(self, there: list[str], code: int = 0) -> None:
        self.there = there
        self.code = code
        self.created: list[Any] = []
        self.closed = False

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    async def list_topics(self) -> list[str]:
        return self.there

    async def create_topics(self, topics: list[Any]) -> Created:
        self.created += topics
        return Created([(topic.name, self.code, "") for topic in topics])


async def run(monkeypatch: pytest.MonkeyPatch, admin: Admin) -> None:
    monkeypatch.setattr("services.runtime.kafka.AIOKafkaAdminClient", lambda **_: admin)
    settings = KafkaSettings(
        kafka_topic_prefix="blue", kafka_partitions=5, kafka_replication=3, kafka_min_insync_replicas=2
    )
    await ensure_topics(settings)


async def test_all_topics_are_made_with_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin([])
    await run(monkeypatch, admin)
    made = {topic.name: topic for topic in admin.created}
    assert {name: topic.num_partitions for name, topic in made.items()} == {
        "blue.events": 5,
        "blue.identity": 5,
        "blue.dead-letters": 1,
        "blue.known": 1,
    }
    known = made.pop("blue.known")
    assert known.topic_configs == {"min.insync.replicas": "2", "cleanup.policy": "compact"}
    for topic in made.values():
        assert topic.replication_factor == 3
        assert topic.topic_configs["min.insync.replicas"] == "2"
        assert int(topic.topic_configs["max.message.bytes"]) >= 4 * 1024 * 1024
    assert admin.closed


async def test_topics_that_are_there_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(["blue.events", "blue.dead-letters", "blue.known", "green.identity"])
    await run(monkeypatch, admin)
    assert [topic.name for topic in admin.created] == ["blue.identity"]


async def test_somebody_else_may_have_been_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin([], TopicAlreadyExistsError.errno)
    await run(monkeypatch, admin)
    assert len(admin.created) == 4


async def test_a_refusal_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin([], InvalidReplicationFactorError.errno)
    with pytest.raises(InvalidReplicationFactorError):
        await run(monkeypatch, admin)
    assert admin.closed
