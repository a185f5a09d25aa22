"""Topics are made where they are missing, with their settings; those that are there are looked at, and what would lose
events refuses the start with the command that mends it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)
from msgspec import Struct

from services.runtime import kafka_topics
from services.runtime.kafka_rights import Client, Facts, MissingRightsError, Operation, TopicFacts
from services.runtime.kafka_topics import NoTopicsError, UnfitTopicsError, check_topic, ensure_topics, topic_configs
from services.runtime.settings import KafkaSettings

SETTINGS = KafkaSettings(
    kafka_topic_prefix="blue", kafka_partitions=5, kafka_replication=3, kafka_min_insync_replicas=2
)
ALL_RIGHTS = frozenset(Operation)
EVERY = ["blue.events", "blue.identity", "blue.dead-letters", "blue.known"]


class Created(Struct):
    topic_errors: list[tuple[str, int, str]]


class Admin:
    """A broker with these topics. `in_force` differs from what new topics get."""

    def __init__(self, there: Sequence[str] = (), code: int = 0, **in_force: str) -> None:
        self.there = list(there)
        self.code = code
        self.in_force = topic_configs(SETTINGS, "blue.events") | {
            name.replace("_", "."): value for name, value in in_force.items()
        }
        self.created: list[Any] = []
        self.rights: frozenset[Operation] | None = ALL_RIGHTS
        self.unseen: set[str] = set()

    async def create_topics(self, topics: list[Any]) -> Created:
        self.created += topics
        if self.code == 0:
            self.there += [topic.name for topic in topics]
        return Created([(topic.name, self.code, "no" if self.code else "") for topic in topics])


async def run(monkeypatch: pytest.MonkeyPatch, admin: Admin) -> None:
    @asynccontextmanager
    async def connected(settings: KafkaSettings) -> AsyncIterator[Admin]:
        yield admin

    async def look(_: Admin, names: Sequence[str]) -> Facts:
        seen = [name for name in names if name in admin.there]
        return Facts({name: TopicFacts(5, 3, admin.rights) for name in seen}, admin.unseen)

    async def in_force(_: Admin, names: Sequence[str]) -> dict[str, dict[str, str]]:
        return dict.fromkeys(names, admin.in_force)

    monkeypatch.setattr(kafka_topics, "admin_client", connected)
    monkeypatch.setattr(kafka_topics, "look_at", look)
    monkeypatch.setattr(kafka_topics, "_SEEN_RETRY_S", 0)
    monkeypatch.setattr(kafka_topics, "settings_in_force", in_force)
    await ensure_topics(SETTINGS, Client.EDGE)


async def test_all_topics_are_made_with_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin()
    await run(monkeypatch, admin)
    assert {topic.name: topic.num_partitions for topic in admin.created} == {
        "blue.events": 5,
        "blue.identity": 5,
        "blue.dead-letters": 1,
        "blue.known": 1,
    }
    (known,) = [topic for topic in admin.created if topic.name == "blue.known"]
    assert known.topic_configs == {
        "cleanup.policy": "compact",
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
    }
    for topic in admin.created:
        if topic is known:
            continue
        assert topic.replication_factor == 3
        assert topic.topic_configs == {
            "cleanup.policy": "delete",
            "min.insync.replicas": "2",
            "retention.ms": "604800000",
            "retention.bytes": "-1",
            "segment.ms": "86400000",
            "max.message.bytes": "4194304",
            "message.timestamp.type": "LogAppendTime",
            "unclean.leader.election.enable": "false",
        }


async def test_topics_that_are_there_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(["blue.events", "blue.dead-letters", "blue.known", "green.identity"])
    await run(monkeypatch, admin)
    assert [topic.name for topic in admin.created] == ["blue.identity"]


async def test_somebody_else_may_have_been_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin([], TopicAlreadyExistsError.errno)
    await run(monkeypatch, admin)
    assert len(admin.created) == 4


async def test_a_refusal_is_raised_with_what_the_broker_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidReplicationFactorError, match=r"blue\.events \(no\).*HEADRACE_KAFKA_REPLICATION"):
        await run(monkeypatch, Admin([], InvalidReplicationFactorError.errno))


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError, ClusterAuthorizationFailedError])
async def test_without_the_right_to_make_topics_the_commands_are_said(
    monkeypatch: pytest.MonkeyPatch, error: type[TopicAuthorizationFailedError]
) -> None:
    with pytest.raises(NoTopicsError) as refused:
        await run(monkeypatch, Admin(["blue.identity", "blue.known"], error.errno))
    lines = str(refused.value).splitlines()
    assert len(lines) == 6  # the reason, a command a topic, "or", and a right a topic
    assert lines[1].startswith(
        "kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --create --topic blue.events --partitions 5 "
        "--replication-factor 3 --config cleanup.policy=delete "
    )
    assert "--operation Create --topic blue.dead-letters" in lines[5]


async def test_a_right_that_is_missing_is_named_before_anything_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(EVERY)
    admin.rights = ALL_RIGHTS - {Operation.WRITE}
    with pytest.raises(MissingRightsError, match=r"Write on topic blue\.events, Write on topic blue\.identity"):
        await run(monkeypatch, admin)


async def test_topics_that_may_not_be_seen_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin()
    admin.unseen = set(EVERY)
    with pytest.raises(MissingRightsError):
        await run(monkeypatch, admin)
    assert not admin.created


async def test_a_broker_that_says_nothing_of_rights_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(EVERY)
    admin.rights = None
    await run(monkeypatch, admin)


async def test_a_topic_that_would_lose_events_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnfitTopicsError) as refused:
        await run(monkeypatch, Admin(EVERY, unclean_leader_election_enable="true"))
    assert (
        "kafka-configs.sh --bootstrap-server 127.0.0.1:9092 --alter --topic blue.events "
        "--add-config unclean.leader.election.enable=false" in str(refused.value).splitlines()
    )


async def test_what_costs_only_comfort_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    await run(monkeypatch, Admin(EVERY, message_timestamp_type="CreateTime", segment_ms="604800000"))


def test_new_topics_are_as_they_should_be() -> None:
    assert check_topic(SETTINGS, "t", 3, topic_configs(SETTINGS, "blue.events")) == []


def test_a_broker_that_names_no_settings_is_believed() -> None:
    assert check_topic(SETTINGS, "t", 3, {}) == []


@pytest.mark.parametrize(
    ("replicas", "name", "value", "loses", "mend"),
    [
        (3, "cleanup.policy", "compact", True, "cleanup.policy=delete"),
        (3, "cleanup.policy", "compact,delete", True, "cleanup.policy=delete"),
        (3, "unclean.leader.election.enable", "true", True, "unclean.leader.election.enable=false"),
        (3, "retention.ms", "60000", True, "retention.ms=604800000"),
        (3, "min.insync.replicas", "1", True, "min.insync.replicas=2"),
        (3, "min.insync.replicas", "4", True, "min.insync.replicas=2"),
        (1, "min.insync.replicas", "2", True, "min.insync.replicas=1"),
        (3, "retention.ms", "86400000", False, "retention.ms=604800000"),
        (3, "retention.ms", "-1", False, "retention.ms=604800000"),
        (3, "retention.ms", "604800001", False, "HEADRACE_KAFKA_RETENTION_HOURS=169"),
        (3, "retention.bytes", "1000000", False, "retention.bytes=-1"),
        (3, "message.timestamp.type", "CreateTime", False, "message.timestamp.type=LogAppendTime"),
        (3, "max.message.bytes", "1048588", False, "max.message.bytes=4194304"),
        (3, "segment.ms", "604800000", False, "segment.ms=86400000"),
        (2, "retention.bytes", "-1", False, "kafka-reassign-partitions.sh"),
    ],
)
def test_what_is_wrong_comes_with_what_mends_it(replicas: int, name: str, value: str, loses: bool, mend: str) -> None:
    found = check_topic(SETTINGS, "t", replicas, topic_configs(SETTINGS, "blue.events") | {name: value})
    named = [finding for finding in found if mend in finding.mend]
    assert [finding.loses for finding in named] == [loses]
    assert any(finding.loses for finding in found) == loses


def test_one_replica_that_acknowledges_is_said_where_there_are_three() -> None:
    settings = KafkaSettings(kafka_topic_prefix="blue")
    (finding,) = check_topic(settings, "t", 3, topic_configs(settings, "blue.events"))
    assert not finding.loses
    assert "min.insync.replicas=2" in finding.mend


def test_a_secured_cluster_is_told_to_with_a_log_in() -> None:
    settings = SETTINGS.model_copy(update={"kafka_security_protocol": "SASL_SSL"})
    (finding,) = check_topic(settings, "t", 3, {"unclean.leader.election.enable": "true"})
    assert "--bootstrap-server 127.0.0.1:9092 --command-config admin.properties --alter" in finding.mend
