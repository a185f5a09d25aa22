"""The topics: made with what the guarantee needs, and looked at where they are there already.

What would lose events that were acknowledged refuses the start; what costs only comfort is a warning. Both come with
the command that mends it.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from msgspec import Struct

from services.contract.log.topics import MAX_RECORD_BYTES
from services.runtime.kafka import admin_client, settings_in_force, topics_of
from services.runtime.kafka_failures import KafkaRefusedError
from services.runtime.kafka_rights import (
    Client,
    Facts,
    MissingRightsError,
    Operation,
    Right,
    acl_commands,
    look_at,
    missing_of_group,
    missing_of_topics,
    rights_of,
    tool,
)
from services.runtime.logs import get_logger
from services.runtime.settings import KafkaSettings

log = get_logger(__name__)

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_TAKEN_BYTES = 2 * MAX_RECORD_BYTES
_SEEN_TRIES, _SEEN_RETRY_S = 50, 0.1


class Finding(Struct, frozen=True):
    """What is wrong with a topic. `loses`: acknowledged events, so nothing may be accepted. `mend`: what to run or set."""

    topic: str
    what: str
    mend: str
    loses: bool = False


class UnfitTopicsError(KafkaRefusedError):
    """Topics as they are would lose events."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        lines = [f"{finding.topic}: {finding.what}\n{finding.mend}" for finding in findings]
        super().__init__("Topics would lose events. Change them, or make others:\n" + "\n".join(lines))


class NoTopicsError(KafkaRefusedError):
    """Topics are missing, and we may not make them."""


class Look(Struct):
    """What was found. `warnings` hinder nothing."""

    facts: Facts
    missing_rights: list[Right]
    findings: list[Finding]
    unread: list[str]


def topic_configs(settings: KafkaSettings, topic: str) -> dict[str, str]:
    """Of a new topic: what differs from the brokers' own settings, or may."""
    if topic == topics_of(settings).known:
        return {
            "cleanup.policy": "compact",
            "min.insync.replicas": str(settings.kafka_min_insync_replicas),
            "unclean.leader.election.enable": "false",
        }
    retention_ms = settings.kafka_retention_hours * _HOUR_MS
    return {
        "cleanup.policy": "delete",
        "min.insync.replicas": str(settings.kafka_min_insync_replicas),
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
        # Whole segments are deleted: a quiet topic would keep people's data for a week more.
        "segment.ms": str(min(_DAY_MS, retention_ms)),
        "max.message.bytes": str(_TAKEN_BYTES),
        # The brokers' clock counts: an edge whose clock is wrong is refused nothing, and the window of ids is of one time.
        "message.timestamp.type": "LogAppendTime",
        # A replica that lacks acknowledged events must not become the leader.
        "unclean.leader.election.enable": "false",
    }


def wanted_topics(settings: KafkaSettings) -> dict[str, int]:
    """Partitions by name."""
    topics = topics_of(settings)
    return {
        topics.events: settings.kafka_partitions,
        topics.identity: settings.kafka_partitions,
        topics.dead_letters: 1,
        topics.known: 1,
    }


async def ensure_topics(settings: KafkaSettings, client: Client, group: str = "") -> None:
    """Make the topics that are missing, and look at all: what we may do with them, and what they would lose.

    Raises KafkaError; of its kinds MissingRightsError, NoTopicsError and UnfitTopicsError say what to run.
    """
    async with admin_client(settings) as admin:
        await _make_missing(admin, settings, await look_at(admin, list(wanted_topics(settings))))
        look = await look_closely(admin, settings, client, group)
    if missing := [right for right in look.missing_rights if right.needed]:
        raise MissingRightsError(settings, missing)
    if unfit := [finding for finding in look.findings if finding.loses]:
        raise UnfitTopicsError(unfit)
    for finding in look.findings:
        log.warning("topic_not_as_it_should", topic=finding.topic, what=finding.what, mend=finding.mend)
    if look.unread:
        rights = [Right("topic", name, Operation.DESCRIBE_CONFIGS) for name in look.unread]
        log.warning("topics_not_checked", topics=look.unread, mend="\n".join(acl_commands(settings, rights)))


async def look_closely(admin: AIOKafkaAdminClient, settings: KafkaSettings, client: Client, group: str) -> Look:
    """At topics and rights, as this client needs them. Raises KafkaError."""
    rights = rights_of(client, settings, group)
    facts = await look_at(admin, list(wanted_topics(settings)))
    missing = missing_of_topics(rights, facts)
    missing += [right for right in rights if right.kind == "group" and await missing_of_group(admin, right)]
    in_force = await settings_in_force(admin, list(facts.topics)) if facts.topics else {}
    findings = [
        finding
        for name, found in in_force.items()
        for finding in check_topic(settings, name, facts.topics[name].replicas, found)
    ]
    return Look(facts, missing, findings, sorted(facts.topics.keys() - in_force.keys()))


async def _make_missing(admin: AIOKafkaAdminClient, settings: KafkaSettings, facts: Facts) -> None:
    """Topics that we may not even see are left: their rights are asked for first."""
    wanted = wanted_topics(settings)
    names = [name for name in wanted if name not in facts.topics and name not in facts.unseen]
    if not names:
        return
    answer = await admin.create_topics(
        [
            NewTopic(name, wanted[name], settings.kafka_replication, topic_configs=topic_configs(settings, name))
            for name in names
        ]
    )
    _check(settings, getattr(answer, "topic_errors", []))
    # The controller has them; the brokers hear of them a moment later.
    for _ in range(_SEEN_TRIES):
        if set(names) <= (await look_at(admin, names)).topics.keys():
            return
        await asyncio.sleep(_SEEN_RETRY_S)
    log.warning("topics_not_seen_yet", topics=names)


def _check(settings: KafkaSettings, answers: Sequence[Sequence[object]]) -> None:
    """create_topics answers an error code and perhaps a text for each topic, instead of raising."""
    failed = [(str(name), for_code(code), text) for name, code, *text in answers if code != 0]
    refused = [(name, error, text) for name, error, text in failed if error is not TopicAlreadyExistsError]
    if not refused:
        return
    names = [name for name, _, _ in refused]
    commands = "\n".join(create_commands(settings, names))
    if any(error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError) for _, error, _ in refused):
        rights = "\n".join(acl_commands(settings, [Right("topic", name, Operation.CREATE) for name in names]))
        raise NoTopicsError(
            f"These topics are missing, and Kafka does not let us make them: {', '.join(names)}. Make them:\n{commands}\n"
            f"or give the right to:\n{rights}"
        )
    name, error, text = refused[0]
    says = f" ({text[0]})" if text and text[0] else ""
    raise error(
        f"Kafka refuses to make {name}{says}. Are HEADRACE_KAFKA_REPLICATION and HEADRACE_KAFKA_MIN_INSYNC_REPLICAS "
        f"what this cluster wants? To make it by hand:\n{commands}"
    )


def create_commands(settings: KafkaSettings, names: Sequence[str]) -> list[str]:
    wanted = wanted_topics(settings)
    return [
        f"{tool('kafka-topics.sh', settings)} --create --topic {name} --partitions {wanted[name]} "
        f"--replication-factor {settings.kafka_replication} "
        + " ".join(f"--config {one}={value}" for one, value in topic_configs(settings, name).items())
        for name in names
    ]


def check_topic(settings: KafkaSettings, topic: str, replicas: int, found: Mapping[str, str]) -> list[Finding]:
    """`found`: the topic's settings; one that the broker does not name is passed over."""
    if topic == topics_of(settings).known:
        return list(_forgets(settings, topic, found))
    return [*_losses(settings, topic, replicas, found), *_discomforts(settings, topic, replicas, found)]


def _forgets(settings: KafkaSettings, topic: str, found: Mapping[str, str]) -> Iterator[Finding]:
    """It holds copies of what ClickHouse has: nothing is lost without them."""
    if (policy := found.get("cleanup.policy", "compact")) != "compact":
        what = f"cleanup.policy={policy}: edges that start while ClickHouse is away know no keys after a while"
        yield Finding(topic, what, _alter(settings, topic, "cleanup.policy", "compact"))


def _losses(settings: KafkaSettings, topic: str, replicas: int, found: Mapping[str, str]) -> Iterator[Finding]:
    if "compact" in found.get("cleanup.policy", ""):
        what = f"cleanup.policy={found['cleanup.policy']} deletes events that are not stored yet"
        yield Finding(topic, what, _alter(settings, topic, "cleanup.policy", "delete"), loses=True)
    if found.get("unclean.leader.election.enable") == "true":
        what = "unclean.leader.election.enable=true lets a broker lead that lacks acknowledged events"
        yield Finding(topic, what, _alter(settings, topic, "unclean.leader.election.enable", "false"), loses=True)
    retention_ms = _number(found, "retention.ms")
    if retention_ms is not None and 0 <= retention_ms < _HOUR_MS:
        what = f"retention.ms={retention_ms} deletes events after less than an hour, stored or not"
        mend = _alter(settings, topic, "retention.ms", str(settings.kafka_retention_hours * _HOUR_MS))
        yield Finding(topic, what, mend, loses=True)
    in_sync = _number(found, "min.insync.replicas")
    if in_sync is None:
        return
    wanted = settings.kafka_min_insync_replicas
    if in_sync > replicas:
        what = f"min.insync.replicas={in_sync}, and it has {replicas} replicas: it takes no event"
        yield Finding(
            topic, what, _alter(settings, topic, "min.insync.replicas", str(min(wanted, replicas))), loses=True
        )
    elif in_sync < wanted <= replicas:
        what = (
            f"min.insync.replicas={in_sync}: events are acknowledged that fewer brokers have than "
            f"HEADRACE_KAFKA_MIN_INSYNC_REPLICAS={wanted}"
        )
        yield Finding(topic, what, _alter(settings, topic, "min.insync.replicas", str(wanted)), loses=True)


def _discomforts(settings: KafkaSettings, topic: str, replicas: int, found: Mapping[str, str]) -> Iterator[Finding]:
    if replicas < settings.kafka_replication:
        yield Finding(
            topic,
            f"it has {replicas} replicas, fewer than HEADRACE_KAFKA_REPLICATION={settings.kafka_replication}",
            f"set HEADRACE_KAFKA_REPLICATION={replicas} if that is all that there is to be. Else write replicas.json "
            "(docs/how-to/managed-kafka.md, More replicas), and:\n"
            f"{tool('kafka-reassign-partitions.sh', settings)} --reassignment-json-file replicas.json --execute",
        )
    if replicas >= 3 and found.get("min.insync.replicas") == "1" and settings.kafka_min_insync_replicas == 1:
        what = f"min.insync.replicas=1 of {replicas} replicas: an acknowledged event may be on one broker alone"
        mend = _alter(settings, topic, "min.insync.replicas", "2")
        yield Finding(
            topic, what, f"{mend}\nand set HEADRACE_KAFKA_REPLICATION=3, HEADRACE_KAFKA_MIN_INSYNC_REPLICAS=2"
        )
    yield from _of_time(settings, topic, found)
    largest = _number(found, "max.message.bytes")
    if largest is not None and largest < _TAKEN_BYTES:
        what = f"max.message.bytes={largest}: events that are larger are refused with 503"
        yield Finding(topic, what, _alter(settings, topic, "max.message.bytes", str(_TAKEN_BYTES)))
    if _number(found, "retention.bytes") not in (None, -1):
        what = f"retention.bytes={found['retention.bytes']} deletes the oldest events of a backlog, stored or not"
        yield Finding(topic, what, _alter(settings, topic, "retention.bytes", "-1"))


def _of_time(settings: KafkaSettings, topic: str, found: Mapping[str, str]) -> Iterator[Finding]:
    if (kind := found.get("message.timestamp.type")) not in (None, "LogAppendTime"):
        what = f"message.timestamp.type={kind}: the clocks of the edges count in the window of ids"
        yield Finding(topic, what, _alter(settings, topic, "message.timestamp.type", "LogAppendTime"))
    wanted_ms, retention_ms = settings.kafka_retention_hours * _HOUR_MS, _number(found, "retention.ms")
    if retention_ms is not None and _HOUR_MS <= retention_ms < wanted_ms:
        what = f"retention.ms={retention_ms}: events are deleted before HEADRACE_KAFKA_RETENTION_HOURS, stored or not"
        yield Finding(topic, what, _alter(settings, topic, "retention.ms", str(wanted_ms)))
    elif retention_ms is not None and not 0 <= retention_ms <= wanted_ms:
        kept = "for ever" if retention_ms < 0 else f"{retention_ms / _HOUR_MS:.0f} hours"
        what = (
            f"it keeps events {kept}, longer than HEADRACE_KAFKA_RETENTION_HOURS={settings.kafka_retention_hours} says"
        )
        hours = f"set HEADRACE_KAFKA_RETENTION_HOURS={-(-retention_ms // _HOUR_MS)}, or " if retention_ms > 0 else ""
        yield Finding(topic, what, f"{hours}{_alter(settings, topic, 'retention.ms', str(wanted_ms))}")
    segment_ms, longest_ms = _number(found, "segment.ms"), min(_DAY_MS, wanted_ms)
    if segment_ms is not None and segment_ms > longest_ms:
        what = f"segment.ms={segment_ms}: a quiet topic keeps people's data up to so long after its retention"
        yield Finding(topic, what, _alter(settings, topic, "segment.ms", str(longest_ms)))


def _number(found: Mapping[str, str], name: str) -> int | None:
    try:
        return int(found[name])
    except (KeyError, ValueError):
        return None


def _alter(settings: KafkaSettings, topic: str, name: str, value: str) -> str:
    return f"{tool('kafka-configs.sh', settings)} --alter --topic {topic} --add-config {name}={value}"
