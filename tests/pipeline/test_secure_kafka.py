"""Kafka as managed ones are: each way to log in, each way to fail, and the rights exactly as they are documented."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.structs import OffsetAndMetadata
from msgspec import Raw

from services.contract.log.envelope import EventLine
from services.contract.log.event_ids import fresh_ids
from services.contract.log.topics import Partitioning
from services.edge.event_log.kafka import KafkaEventLog
from services.operations.check import Row, State, check_kafka
from services.runtime.kafka import admin_client, client_options, topics_of
from services.runtime.kafka_failures import KafkaRefusedError
from services.runtime.kafka_rights import Client, MissingRightsError, Operation, look_at
from services.runtime.kafka_topics import NoTopicsError, UnfitTopicsError, ensure_topics, wanted_topics
from services.runtime.settings import EdgeSettings, KafkaSettings, WorkerSettings
from services.worker.consumer.former_group import FormerGroupBusyError, take_over_former_group
from tests.support.secure_kafka import (
    DOCUMENTED,
    LOG_IN_LASTS_MS,
    PASSWORD,
    Acl,
    SecureKafka,
    documented_acls,
    token_server,
)


@pytest.fixture(scope="module")
def kafka(secure_kafka: SecureKafka) -> SecureKafka:
    """With the topics, as its administrator makes them, and the rights of the document."""
    asyncio.run(_prepare(secure_kafka))
    return secure_kafka


async def _prepare(kafka: SecureKafka) -> None:
    await ensure_topics(KafkaSettings(kafka_bootstrap=kafka.bootstrap("PLAINTEXT"), kafka_partitions=2), Client.EDGE)
    await kafka.allow(*DOCUMENTED)


def settings_of(values: dict[str, str], **more: Any) -> KafkaSettings:
    return KafkaSettings.model_validate({f"kafka_{name}": value for name, value in (values | more).items()})


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "certificate"])
async def test_each_way_to_log_in(kafka: SecureKafka, mechanism: str) -> None:
    if mechanism == "OAUTHBEARER":
        with token_server() as (url, asked):
            await ensure_topics(settings_of(kafka.as_token("edge", url)), Client.EDGE)
        assert len(asked) == 1, "connections share a token"
        return
    values = kafka.as_certificate("edge") if mechanism == "certificate" else kafka.as_user("edge", mechanism)
    await ensure_topics(settings_of(values), Client.EDGE)


async def refusal(settings: KafkaSettings) -> str:
    with pytest.raises(KafkaRefusedError) as refused:
        await ensure_topics(settings, Client.EDGE)
    assert PASSWORD[:8] not in str(refused.value)
    return str(refused.value)


async def test_a_log_in_that_fails_names_what_to_change(kafka: SecureKafka) -> None:
    user = kafka.as_user("edge")
    cases = [
        ({"sasl_password": "wrong-sesame"}, "HEADRACE_KAFKA_SASL_PASSWORD right"),
        ({"sasl_username": "stranger"}, "HEADRACE_KAFKA_SASL_USERNAME and"),
        ({"bootstrap": kafka.bootstrap("SSL")}, "certificate"),
        ({"bootstrap": kafka.bootstrap("EXPIRED")}, "server's certificate has expired"),
        ({"bootstrap": kafka.bootstrap("OTHER_NAME")}, "server's certificate is for another name"),
        ({"ca_file": str(kafka.strangers.file)}, "unknown CA .* HEADRACE_KAFKA_CA_FILE"),
        ({"ca_file": ""}, "unknown CA .* HEADRACE_KAFKA_CA_FILE"),
        ({"bootstrap": kafka.bootstrap("PLAINTEXT")}, "HEADRACE_KAFKA_SECURITY_PROTOCOL|does not speak TLS"),
        ({"bootstrap": "127.0.0.1:1"}, "nobody listens there: is HEADRACE_KAFKA_BOOTSTRAP right"),
        ({"bootstrap": "no-such-name.invalid:9092"}, "this name is not known"),
    ]
    for changed, says in cases:
        said = await refusal(settings_of(user, **changed))
        assert re.search(says, said), (changed, said)
    said = await refusal(KafkaSettings(kafka_bootstrap=kafka.bootstrap("SASL_SSL")))
    assert "HEADRACE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT" in said
    plain = {"security_protocol": "SASL_PLAINTEXT", "ca_file": "", "bootstrap": kafka.bootstrap("PLAINTEXT")}
    said = await refusal(settings_of(user, **plain))
    assert "takes no log-in" in said


async def test_a_client_certificate_that_is_refused(kafka: SecureKafka) -> None:
    values = kafka.as_certificate("edge")
    stranger = kafka.strangers.issue("stranger", common_name="edge")
    old = kafka.authority.issue("old", common_name="edge", expired=True)
    cases = [
        {"certificate_file": "", "key_file": ""},
        {"certificate_file": str(stranger.certificate), "key_file": str(stranger.key)},
        {"certificate_file": str(old.certificate), "key_file": str(old.key)},
    ]
    for changed in cases:
        said = await refusal(settings_of(values, **changed))
        assert "HEADRACE_KAFKA_CERTIFICATE_FILE" in said, said


async def test_a_token_that_is_not_given_or_not_taken(kafka: SecureKafka) -> None:
    with token_server() as (url, _):
        said = await refusal(settings_of(kafka.as_token("edge", url), oauth_client_secret="wrong-sesame"))
        assert "401 invalid_client. Are HEADRACE_KAFKA_OAUTH_CLIENT_ID" in said
    said = await refusal(settings_of(kafka.as_token("edge", url)))
    assert "Is HEADRACE_KAFKA_OAUTH_TOKEN_URL right" in said
    with token_server(life_s=-60) as (url, _):
        said = await refusal(settings_of(kafka.as_token("edge", url)))
        assert "the log-in is refused: the brokers do not take the token" in said


async def test_an_edge_goes_on_when_its_log_in_has_expired(kafka: SecureKafka) -> None:
    """The broker puts out who logged in too long ago; nobody who sends events sees it."""

    async def agree(count: int) -> Partitioning:
        return Partitioning(count)

    with token_server() as (url, asked):
        values = {f"kafka_{name}": value for name, value in kafka.as_token("edge", url).items()}
        log = KafkaEventLog(EdgeSettings.model_validate({**values, "edge_publish_timeout_s": 5}), agree)
        await log.start()
        try:
            for _ in range(3):
                now = datetime.now(UTC)
                ids = fresh_ids(10)
                await log.append_events(ids, [EventLine("shop", i.hex(), "e", "u", now, now, Raw(b"{}")) for i in ids])
                assert await log.is_ready()
                await asyncio.sleep(LOG_IN_LASTS_MS / 1000 * 0.6)
        finally:
            await log.stop()
    assert len(asked) == 1


@pytest.mark.parametrize("client", Client)
async def test_each_right_of_the_document_is_needed_and_no_more(kafka: SecureKafka, client: Client) -> None:
    """One taken away: the error names it, with a command that gives it back."""
    settings = settings_of(kafka.as_user(client.value))
    await ensure_topics(settings, client, "headrace-worker")
    for acl in [acl for acl in DOCUMENTED if acl.user == client and acl.operation is not Operation.DESCRIBE_CONFIGS]:
        await kafka.take_away(acl)
        try:
            with pytest.raises(MissingRightsError) as refused:
                await ensure_topics(settings, client, "headrace-worker")
        finally:
            await kafka.allow(acl)
        assert f"Kafka does not allow us: {acl.operation} on {acl.kind} {acl.name}. " in str(refused.value), acl
        (given,) = documented_acls("\n".join(str(refused.value).splitlines()[1:]))
        assert given == acl
    await ensure_topics(settings, client, "headrace-worker")


async def test_without_a_right_to_look_topics_are_not_checked(
    kafka: SecureKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    acl = Acl("edge", Operation.DESCRIBE_CONFIGS, "topic", "headrace.events")
    await kafka.take_away(acl)
    try:
        await ensure_topics(settings_of(kafka.as_user("edge")), Client.EDGE)
    finally:
        await kafka.allow(acl)
    said = capsys.readouterr()
    assert "topics_not_checked" in said.out + said.err


async def test_who_may_not_make_topics_is_told_the_commands(kafka: SecureKafka) -> None:
    settings = settings_of(kafka.as_user("edge"), topic_prefix="shop")
    for name in ("shop.events", "shop.identity", "shop.dead-letters"):
        await kafka.allow(Acl("edge", Operation.WRITE, "topic", name))
    for operation in (Operation.READ, Operation.WRITE):
        await kafka.allow(Acl("edge", operation, "topic", "shop.known"))
    with pytest.raises(NoTopicsError, match=r"kafka-topics\.sh .* --create --topic shop\.events --partitions 8"):
        await ensure_topics(settings, Client.EDGE)
    await kafka.allow(Acl("edge", Operation.CREATE, "topic", "shop.", 4))
    await ensure_topics(settings, Client.EDGE)


async def unclean_topics(kafka: SecureKafka) -> KafkaSettings:
    """Topics that somebody else has made."""
    root = KafkaSettings(kafka_bootstrap=kafka.bootstrap("PLAINTEXT"), kafka_topic_prefix="foreign", kafka_partitions=1)
    async with admin_client(root) as admin:
        unclean = {"unclean.leader.election.enable": "true"}
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=unclean) for name in wanted_topics(root)])
        for _ in range(100):  # the broker hears of them a moment later
            if len((await look_at(admin, list(wanted_topics(root)))).topics) == len(wanted_topics(root)):
                return root
            await asyncio.sleep(0.05)
    raise AssertionError("the broker did not hear of the topics")


async def test_topics_of_others_that_would_lose_events_are_refused(kafka: SecureKafka) -> None:
    root = await unclean_topics(kafka)
    with pytest.raises(UnfitTopicsError, match=r"--alter --topic foreign\.events --add-config unclean"):
        await ensure_topics(root, Client.EDGE)


async def test_check_says_what_is_wrong_and_what_mends_it(kafka: SecureKafka) -> None:
    async def looked(values: dict[str, str], **more: Any) -> dict[str, Row]:
        found = check_kafka("edge", settings_of(values, **more), Client.EDGE, "", write=False)
        rows: dict[str, Row] = {}
        async for row in found:
            rows.setdefault(row.what, row)
        return rows

    nothing_allowed = (await looked(kafka.as_user("nobody")))["rights in Kafka"]
    assert nothing_allowed.state is State.WRONG
    assert {acl.user for acl in documented_acls(nothing_allowed.mend)} == {"nobody"}
    few = (await looked(kafka.as_user("edge"), replication="2"))["headrace.events"]
    assert (few.state, "fewer than HEADRACE_KAFKA_REPLICATION=2" in few.says) == (State.WARNING, True)
    root = {"bootstrap": kafka.bootstrap("PLAINTEXT")}
    await unclean_topics(kafka)
    unclean = (await looked(root, topic_prefix="foreign"))["foreign.events"]
    assert unclean.state is State.WRONG
    assert "--add-config unclean.leader.election.enable=false" in unclean.mend
    absent = (await looked(root, topic_prefix="absent"))["topics"]
    assert absent.state is State.WARNING
    assert len(absent.mend.splitlines()) == 4
    away = await looked(root, bootstrap="127.0.0.1:1")
    assert [row.state for row in away.values()] == [State.WRONG]


async def test_workers_take_over_what_the_former_group_has_committed(kafka: SecureKafka) -> None:
    settings = WorkerSettings(
        kafka_bootstrap=kafka.bootstrap("PLAINTEXT"), kafka_topic_prefix="old", kafka_partitions=2
    )
    topics = topics_of(settings)
    await ensure_topics(settings, Client.WORKER, settings.group)
    await take_over_former_group(settings)  # a new installation has nothing to take
    tp = TopicPartition(topics.events, 1)
    former = AIOKafkaConsumer(
        topics.events, **client_options(settings), group_id="headrace-worker", enable_auto_commit=False
    )
    await former.start()
    try:
        assert tp in former.assignment()
        await former.commit({tp: OffsetAndMetadata(7, "marks1 9")})
        with pytest.raises(FormerGroupBusyError, match=r"still read old\.events\. Stop them"):
            await take_over_former_group(settings)
    finally:
        await former.stop()
    await take_over_former_group(settings)
    async with admin_client(settings) as admin:
        assert await admin.list_consumer_group_offsets("old-worker") == {tp: OffsetAndMetadata(7, "marks1 9")}
        # Once only: what the new group commits stays.
    ours = AIOKafkaConsumer(**client_options(settings), group_id="old-worker", enable_auto_commit=False)
    await ours.start()
    ours.assign([tp])
    await ours.commit({tp: OffsetAndMetadata(8, "")})
    await ours.stop()
    await take_over_former_group(settings)
    async with admin_client(settings) as admin:
        assert (await admin.list_consumer_group_offsets("old-worker"))[tp].offset == 8
