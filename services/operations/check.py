"""Looks at Kafka and ClickHouse as a service would: what answers, what it is, what we may do there, and whether the
clocks agree."""

import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from enum import StrEnum

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from msgspec import Struct

from services.runtime.clickhouse import ClickHouse, StoreError, is_older
from services.runtime.clock import utc_now
from services.runtime.cluster import on_cluster
from services.runtime.kafka import admin_client, make_producer, topics_of
from services.runtime.kafka_rights import Client, Operation, Right, acl_commands, rights_of
from services.runtime.kafka_topics import Look, create_commands, look_closely, wanted_topics
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.runtime.store_version import LOWEST_VERSION
from services.schema.files import load_migrations
from services.schema.roles import Role, grants_of, role_name
from services.schema.topology import TopologyError, refuse_cluster, refuse_tables_of_cluster

# Deletions allow a minute for clocks that differ, the window of ids an hour.
_CLOCK_WARNING_S = 5.0
_CLOCK_WRONG_S = 60.0
_TIMEOUT_S = 10.0
# Keys of the protocol's requests, and the version that they came with.
_PRODUCE, _NEW_REQUESTS = 0, {65: "3.0", 60: "2.8", 48: "2.6", 44: "2.3"}
_PRODUCE_OF_4 = 3
_UNKNOWN_TABLE, _UNKNOWN_DATABASE, _DENIED = 60, 81, 497


class State(StrEnum):
    """`WARNING` hinders nothing."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Row(Struct, frozen=True):
    """`mend`: what to run, in lines."""

    service: str
    what: str
    state: State
    says: str
    mend: str = ""


async def check_kafka(
    service: str, settings: KafkaSettings, client: Client, group: str, *, write: bool
) -> AsyncIterator[Row]:
    """`write`: a record without a value to the dead-letter topic, whose acknowledgement has the brokers' time."""
    try:
        async with admin_client(settings) as admin:
            yield await _brokers(service, settings, admin)
            yield _version(service, admin)
            look = await look_closely(admin, settings, client, group)
    except (KafkaError, OSError, TimeoutError) as error:
        yield Row(service, "Kafka", State.WRONG, str(error) or repr(error))
        return
    for row in _topics_and_rights(service, settings, look):
        yield row
    letters = topics_of(settings).dead_letters
    right = Right("topic", letters, Operation.WRITE)
    may_write = (
        right in rights_of(client, settings, group) and letters in look.facts.topics and right not in _needed(look)
    )
    if write and may_write:
        yield await _kafka_clock(service, settings)


async def _brokers(service: str, settings: KafkaSettings, admin: AIOKafkaAdminClient) -> Row:
    """Each at the address that it gives to its clients."""
    brokers = admin._client.cluster.brokers()
    silent = [f"{b.host}:{b.port}" for b in brokers if not await admin._client.ready(b.nodeId)]
    says = f"brokers that answer: {len(brokers)}, by {settings.kafka_security_protocol}"
    if settings.kafka_security_protocol.startswith("SASL_"):
        says += f" and {settings.kafka_sasl_mechanism}"
    if not silent:
        return Row(service, "Kafka", State.OK, says)
    says = (
        f"no answer from {', '.join(silent)}. The brokers give these addresses to their clients (advertised.listeners): "
        "can they be reached from here?"
    )
    return Row(service, "Kafka", State.WRONG, says)


def _version(service: str, admin: AIOKafkaAdminClient) -> Row:
    """Brokers do not say their version, but which requests they know."""
    known: dict[int, tuple[int, int]] = next((c._versions for c in admin._client._conns.values() if c._versions), {})
    if known.get(_PRODUCE, (0, 0))[0] >= _PRODUCE_OF_4:
        return Row(service, "Kafka's version", State.OK, "4.0 or newer")
    for key, version in _NEW_REQUESTS.items():
        if key in known:
            return Row(service, "Kafka's version", State.OK, f"{version} or newer")
    return Row(service, "Kafka's version", State.WARNING, "older than 2.3, or a broker of another make")


def _needed(look: Look) -> list[Right]:
    return [right for right in look.missing_rights if right.needed]


def _topics_and_rights(service: str, settings: KafkaSettings, look: Look) -> list[Row]:
    rows = []
    if missing := look.missing_rights:
        says = "missing: " + ", ".join(f"{right.operation} on {right.kind} {right.name}" for right in missing)
        state = State.WRONG if _needed(look) else State.WARNING
        rows.append(Row(service, "rights in Kafka", state, says, "\n".join(acl_commands(settings, missing))))
    else:
        silent = any(topic.rights is None for topic in look.facts.topics.values())
        says = "these brokers do not say" if silent else "all that are needed"
        rows.append(Row(service, "rights in Kafka", State.OK, says))
    if absent := [
        name for name in wanted_topics(settings) if name not in look.facts.topics | dict.fromkeys(look.facts.unseen)
    ]:
        says = f"not there: {', '.join(absent)}. A service that may makes them when it starts"
        rows.append(Row(service, "topics", State.WARNING, says, "\n".join(create_commands(settings, absent))))
    for name, topic in look.facts.topics.items():
        found = [finding for finding in look.findings if finding.topic == name]
        says = f"partitions: {topic.partitions}, replicas: {topic.replicas}"
        if name in look.unread:
            says += "; its settings may not be read"
        if not found:
            rows.append(Row(service, name, State.OK, says))
        rows += [
            Row(service, name, State.WRONG if finding.loses else State.WARNING, finding.what, finding.mend)
            for finding in found
        ]
    return rows


async def _kafka_clock(service: str, settings: KafkaSettings) -> Row:
    """Also shows that enough replicas are in sync."""
    what = "clock of Kafka"
    producer = make_producer(settings, timeout_s=_TIMEOUT_S)
    try:
        await producer.start()
        topic = topics_of(settings).dead_letters
        await producer.partitions_for(topic)  # to fetch metadata takes time, too
        before = time.time()
        taken = await producer.send_and_wait(topic, value=None, key=b"headrace check")
        after = time.time()
    except (KafkaError, OSError, TimeoutError) as error:
        return Row(service, what, State.WRONG, f"a record was not acknowledged: {error!r}")
    finally:
        await producer.stop()
    if taken.timestamp_type != 1:
        return Row(service, what, State.OK, "a record was acknowledged; the topic does not have the brokers' time")
    return _clock(service, what, taken.timestamp / 1000 - (before + after) / 2)


def _clock(service: str, what: str, ahead_s: float) -> Row:
    says = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
    if abs(ahead_s) < _CLOCK_WARNING_S:
        return Row(service, what, State.OK, says)
    state = State.WRONG if abs(ahead_s) >= _CLOCK_WRONG_S else State.WARNING
    return Row(service, what, state, f"{says}: set both by NTP; deletions allow {_CLOCK_WRONG_S:.0f} s")


async def check_clickhouse(service: str, settings: ClickHouseSettings, role: Role) -> AsyncIterator[Row]:
    try:
        store = await ClickHouse.connect(settings, database="default")
    except OperatorError as error:
        yield Row(service, "ClickHouse", State.WRONG, str(error))
        return
    try:
        before = utc_now()
        ((version, user, now),) = await store.rows("SELECT version(), currentUser(), now64(6, 'UTC')")
        after = utc_now()
        by_tls = ", by TLS" if settings.clickhouse_url.startswith("https:") else ""
        yield Row(service, "ClickHouse", State.OK, f"answers as {user}{by_tls}")
        lowest = ".".join(map(str, LOWEST_VERSION))
        is_old = is_older(version, LOWEST_VERSION)
        says = f"{version}: upgrade it to {lowest} or newer" if is_old else version
        yield Row(service, "ClickHouse's version", State.WRONG if is_old else State.OK, says)
        yield await _schema(service, store, settings, role)
        yield await _grants(service, store, settings, role)
        if role is not Role.EDGE and (row := await _cluster(service, store, settings)):
            yield row
        ahead_s = (now.replace(tzinfo=UTC) - before - (after - before) / 2).total_seconds()
        yield _clock(service, "clock of ClickHouse", ahead_s)
    except StoreError as error:
        yield Row(service, "ClickHouse", State.WRONG, str(error)[:500])
    finally:
        await store.close()


async def _schema(service: str, store: ClickHouse, settings: ClickHouseSettings, role: Role) -> Row:
    """Only who may read the list of migrations can tell that none is pending; others, whether their tables are there."""
    database, what, mend = settings.clickhouse_database, "tables", "headrace migrate"
    try:
        applied = {row[0] for row in await store.rows(f"SELECT name FROM {database}.schema_migrations")}
    except StoreError as error:
        if error.code in (_UNKNOWN_TABLE, _UNKNOWN_DATABASE):
            return Row(service, what, State.WRONG, "they were not made yet", mend)
        if error.code != _DENIED:
            raise
        return await _own_tables(service, store, database, role)
    pending = [migration.name for migration in load_migrations() if migration.name not in applied]
    if pending:
        return Row(service, what, State.WRONG, f"not up to date: {', '.join(pending)}", mend)
    return Row(service, what, State.OK, "up to date")


async def _cluster(service: str, store: ClickHouse, settings: ClickHouseSettings) -> Row | None:
    """None: there is one server, and it is asked as one."""
    what = f"cluster {settings.clickhouse_cluster}".strip()
    try:
        if not settings.clickhouse_cluster:
            await refuse_tables_of_cluster(store, settings)
            return None
        topology = await refuse_cluster(store, settings)
    except TopologyError as error:
        return Row(service, what, State.WRONG, str(error))
    answers = f"{len(topology.nodes)} of {len(topology.replicas)} servers answer, shards: {len(topology.of_shards())}"
    if missing := topology.without_majority():
        away = ", ".join(f"{found} of shard {shard}" for shard, found in missing.items())
        said = f". Said was: {topology.silence}" if topology.silence else ""
        return Row(service, what, State.WRONG, f"{answers}; too few for inserts: {away}{said}")
    is_whole = len(topology.nodes) == len(topology.replicas)
    if not is_whole and topology.silence:
        answers += f". Said was: {topology.silence}"
    return Row(service, what, State.OK if is_whole else State.WARNING, answers)


async def _own_tables(service: str, store: ClickHouse, database: str, role: Role) -> Row:
    cluster = store.cluster
    tables = sorted(
        {grant.split(" ON ")[1] for grant in grants_of(role, database, cluster) if f" ON {database}." in grant}
    )
    for table in tables:
        try:
            await store.command(f"SELECT * FROM {table} LIMIT 0")
        except StoreError as error:
            if error.code in (_UNKNOWN_TABLE, _UNKNOWN_DATABASE):
                return Row(service, "tables", State.WRONG, f"{table} is not there", "headrace migrate")
            if error.code != _DENIED:
                raise
    return Row(service, "tables", State.OK, "those that it needs are there")


async def _grants(service: str, store: ClickHouse, settings: ClickHouseSettings, role: Role) -> Row:
    database, everywhere = settings.clickhouse_database, on_cluster(settings.clickhouse_cluster)
    missing = [
        grant for grant in grants_of(role, database, settings.clickhouse_cluster) if not await _is_granted(store, grant)
    ]
    what = "rights in ClickHouse"
    if not missing:
        return Row(service, what, State.OK, "all that are needed")
    name = role_name(role, database)
    mend = "\n".join(" ".join(f"GRANT {everywhere} {grant} TO {name};".split()) for grant in missing)
    return Row(
        service,
        what,
        State.WRONG,
        f"missing: {'; '.join(missing)}",
        f"{mend}\nGRANT {name} TO {settings.clickhouse_login};",
    )


async def _is_granted(store: ClickHouse, grant: str) -> bool:
    # Of ALL, what a database can give.
    asked = grant.replace("ALL ON ", "SELECT, INSERT, ALTER TABLE, CREATE TABLE, DROP TABLE ON ")
    rows: Sequence[Sequence[object]] = await store.rows(f"CHECK GRANT {asked}")
    return bool(rows and rows[0][0])
