"""Who needs which rights in Kafka, what of them is missing, and the commands that give them.

Brokers say what a client may do with a topic or group when they are asked (KIP-430, Kafka 2.3). So a right that will be
missed at the first `identify` is missed at the start.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IncompatibleBrokerVersion,
    NoError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String
from msgspec import Struct

from services.runtime.kafka import topics_of
from services.runtime.kafka_failures import KafkaRefusedError
from services.runtime.settings import KafkaSettings

DOCUMENT = "docs/how-to/kafka-acls.md"


class Client(StrEnum):
    """`TOOLS` are the commands of `headrace` that speak to Kafka."""

    EDGE = "edge"
    WORKER = "worker"
    QUERY = "query"
    TOOLS = "tools"


class Operation(StrEnum):
    """As kafka-acls.sh spells them."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"


# Their numbers in the protocol: bits of what a broker says about rights.
CODES = {
    Operation.READ: 3,
    Operation.WRITE: 4,
    Operation.CREATE: 5,
    Operation.DESCRIBE: 8,
    Operation.DESCRIBE_CONFIGS: 10,
}
# A broker that says nothing about rights.
_NOT_SAID = -(2**31)
_COORDINATOR_TRIES, _COORDINATOR_RETRY_S = 50, 0.1


class Right(Struct, frozen=True, order=True):
    """`kind`: topic or group. `needed`: without it the service does not work; else it only knows less."""

    kind: str
    name: str
    operation: Operation
    needed: bool = True


def rights_of(client: Client, settings: KafkaSettings, group: str) -> list[Right]:
    """What a client needs, Describe left out where another right gives it. `group`: of the workers."""
    topics = topics_of(settings)
    of_topics = {
        Client.EDGE: {
            topics.events: [Operation.WRITE],
            topics.identity: [Operation.WRITE],
            topics.dead_letters: [Operation.WRITE],
            # The keys and the partitions that it knew last.
            topics.known: [Operation.READ, Operation.WRITE],
        },
        Client.WORKER: {
            topics.events: [Operation.READ],
            topics.identity: [Operation.READ],
            topics.dead_letters: [Operation.WRITE],
        },
        # Deletions have a place in the log, and wait until workers have passed it.
        Client.QUERY: {topics.events: [Operation.WRITE], topics.identity: [Operation.WRITE]},
        # `dead-letters` reads letters and puts events back; `partitions use` compares the group with the topic.
        Client.TOOLS: {
            topics.events: [Operation.WRITE],
            topics.identity: [Operation.WRITE],
            topics.dead_letters: [Operation.READ, Operation.WRITE],
        },
    }[client]
    rights = [Right("topic", name, operation) for name, operations in of_topics.items() for operation in operations]
    rights += [Right("topic", name, Operation.DESCRIBE_CONFIGS, needed=False) for name in of_topics]
    if client is not Client.EDGE:
        rights.append(Right("group", group, Operation.READ if client is Client.WORKER else Operation.DESCRIBE))
    return rights


class TopicFacts(Struct):
    """Of a topic that is there. `rights`: None where the broker does not say."""

    partitions: int
    replicas: int
    rights: frozenset[Operation] | None


class Facts(Struct):
    """`unseen`: topics that we may not even ask for."""

    topics: dict[str, TopicFacts]
    unseen: set[str]


async def look_at(admin: AIOKafkaAdminClient, names: Sequence[str]) -> Facts:
    """Topics as the brokers say, and what we may do with them. Makes none. Raises KafkaError."""
    request: Any = _MetadataRequest(list(names))
    answer = await admin._send_request(request)
    facts = Facts({}, set())
    for code, name, partitions, allowed in _topics_in(answer):
        error = for_code(code)
        if error is TopicAuthorizationFailedError:
            facts.unseen.add(name)
        elif error is NoError and partitions:
            # Of each: error, number, leader, [epoch of the leader,] replicas, in sync, offline.
            fewest = min(len(partition[-3]) for partition in partitions)
            facts.topics[name] = TopicFacts(len(partitions), fewest, _operations(allowed))
    return facts


def _topics_in(answer: Any) -> Iterable[tuple[int, str, list[Any], int]]:
    for topic in answer.topics:
        code, name, _, partitions = topic[:4]
        yield code, name, partitions, topic[4] if len(topic) > 4 else _NOT_SAID


def _operations(bits: int) -> frozenset[Operation] | None:
    if bits == _NOT_SAID:
        return None
    return frozenset(operation for operation, code in CODES.items() if bits >> code & 1)


async def missing_of_group(admin: AIOKafkaAdminClient, right: Right) -> bool:
    """Raises KafkaError."""
    try:
        coordinator = await _coordinator(admin, right.name)
        answer = await admin._send_request(_DescribeGroupsRequest([right.name]), coordinator)
    except GroupAuthorizationFailedError:
        return True
    except (NotImplementedError, IncompatibleBrokerVersion):
        return False
    group = answer.groups[0]
    if for_code(group[0]) is GroupAuthorizationFailedError:
        return True
    allowed = _operations(group[6])
    return allowed is not None and right.operation not in allowed


async def _coordinator(admin: AIOKafkaAdminClient, group: str) -> int:
    """The first group of a cluster waits for the topic of all groups, which is then made."""
    for _ in range(_COORDINATOR_TRIES):
        with contextlib.suppress(GroupCoordinatorNotAvailableError, GroupLoadInProgressError):
            node: int = await admin.find_coordinator(group)
            return node
        await asyncio.sleep(_COORDINATOR_RETRY_S)
    raise GroupCoordinatorNotAvailableError(f"Kafka has no coordinator for {group} yet")


def missing_of_topics(rights: Iterable[Right], facts: Facts) -> list[Right]:
    """Of topics that are not there, none."""
    missing = []
    for right in rights:
        fact = facts.topics.get(right.name)
        is_refused = fact is not None and fact.rights is not None and right.operation not in fact.rights
        if right.kind == "topic" and (right.name in facts.unseen or is_refused):
            missing.append(right)
    return missing


class MissingRightsError(KafkaRefusedError):
    """The user may not do what the service has to do; the message lists the commands that let it."""

    def __init__(self, settings: KafkaSettings, missing: Sequence[Right]) -> None:
        what = ", ".join(f"{right.operation} on {right.kind} {right.name}" for right in missing)
        commands = "\n".join(acl_commands(settings, missing))
        super().__init__(f"Kafka does not allow us: {what}. Give these rights ({DOCUMENT}):\n{commands}")


def acl_commands(settings: KafkaSettings, missing: Sequence[Right]) -> list[str]:
    """One for each topic or group."""
    operations: dict[tuple[str, str], list[Operation]] = {}
    for right in missing:
        operations.setdefault((right.kind, right.name), []).append(right.operation)
    return [
        f"{tool('kafka-acls.sh', settings)} --add --allow-principal '{principal(settings)}' "
        + " ".join(f"--operation {operation}" for operation in allowed)
        + f" --{kind} {name}"
        for (kind, name), allowed in operations.items()
    ]


def tool(name: str, settings: KafkaSettings) -> str:
    """A tool of Kafka's, as an administrator runs it: with a file of its own log-in where one is needed."""
    secured = " --command-config admin.properties" if settings.kafka_security_protocol != "PLAINTEXT" else ""
    return f"{name} --bootstrap-server {settings.kafka_bootstrap.split(',')[0]}{secured}"


def principal(settings: KafkaSettings) -> str:
    """As ACLs name our user. Of a certificate or a token only the brokers know it."""
    if settings.kafka_security_protocol.startswith("SASL_") and settings.kafka_sasl_username:
        return f"User:{settings.kafka_sasl_username}"
    return "User:<name of this service>"


# aiokafka's own requests end before the versions that speak of rights, or read their answers as of another version. It
# reads an API's version from the class.
class _MetadataResponse_v5(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
            ),
        ),
    )


class _MetadataRequest_v5(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 5
    RESPONSE_TYPE = _MetadataResponse_v5
    SCHEMA = Schema(("topics", Array(String("utf-8"))), ("allow_auto_topic_creation", Boolean))


class _MetadataResponse_v8(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequest_v8(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse_v8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataRequest_v5 | _MetadataRequest_v8]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class is _MetadataRequest_v8:
            return _MetadataRequest_v8(self._topics, False, False, True)
        return _MetadataRequest_v5(self._topics, False)


class _DescribeGroupsRequest_v3(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = Schema(("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean))


class _DescribeGroupsRequest(Request[_DescribeGroupsRequest_v3]):  # type: ignore[misc]
    API_KEY = 15

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: Any) -> Any:
        return _DescribeGroupsRequest_v3(self._groups, True)
