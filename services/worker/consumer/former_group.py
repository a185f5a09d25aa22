"""Workers of an installation whose topics have a prefix of their own were all of the group `headrace-worker`. Now they
are of the group of their prefix, and go on where they were: what the former group has committed is taken over once.

Not while workers of the former group still read: two groups would store the same events, each by an index of its own.
"""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from services.runtime.kafka import admin_client, client_options, stop_consumer, topics_of
from services.runtime.kafka_failures import KafkaRefusedError
from services.runtime.kafka_rights import look_at
from services.runtime.kafka_topics import wanted_topics
from services.runtime.logs import get_logger
from services.runtime.settings import WorkerSettings

log = get_logger(__name__)
FORMER_GROUP = "headrace-worker"

Committed = Mapping[TopicPartition, OffsetAndMetadata]


class FormerGroupBusyError(KafkaRefusedError):
    """Workers of the former group still read our topics."""


async def take_over_former_group(settings: WorkerSettings) -> None:
    """Raises KafkaError; FormerGroupBusyError until the workers of the former group have stopped."""
    if settings.group == FORMER_GROUP or settings.worker_group:
        return
    async with admin_client(settings) as admin:
        partitions = await _partitions(admin, settings)
        if await _committed(admin, settings.group, partitions):
            return
        try:
            former = await _committed(admin, FORMER_GROUP, partitions)
            if not former:
                return
            await _refuse_while_read(admin, settings)
        except GroupAuthorizationFailedError:
            log.info("former_group_not_looked_at", group=FORMER_GROUP)
            return
    await _commit(settings, former)


async def _partitions(admin: AIOKafkaAdminClient, settings: WorkerSettings) -> list[TopicPartition]:
    topics = topics_of(settings)
    facts = await look_at(admin, [topics.events, topics.identity])
    return [TopicPartition(name, number) for name, topic in facts.topics.items() for number in range(topic.partitions)]


async def _committed(admin: AIOKafkaAdminClient, group: str, partitions: list[TopicPartition]) -> Committed:
    found = await admin.list_consumer_group_offsets(group, partitions=partitions) if partitions else {}
    return {tp: at for tp, at in found.items() if at.offset >= 0}


async def _refuse_while_read(admin: AIOKafkaAdminClient, settings: WorkerSettings) -> None:
    """Of another installation the group may have members too: only those that read our topics count."""
    ours = wanted_topics(settings).keys()
    for answer in await admin.describe_consumer_groups([FORMER_GROUP]):
        for group in answer.groups:
            for member in group[5]:
                read = ConsumerProtocolMemberMetadata.decode(member[3]).subscription if member[3] else ()
                if ours & set(read):
                    raise FormerGroupBusyError(
                        f"workers of the group {FORMER_GROUP} still read {', '.join(sorted(ours & set(read)))}. Stop "
                        f"them: the group is {settings.group} now, and goes on where they end. Or stay with the former "
                        f"one: HEADRACE_WORKER_GROUP={FORMER_GROUP}"
                    )


async def _commit(settings: WorkerSettings, former: Committed) -> None:
    """As nobody's member. Where another worker was faster, the group has members, and nothing is changed."""
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=settings.group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(former))
        await consumer.commit(dict(former))
    except CommitFailedError as error:
        log.info("former_group_taken_over_by_another", reason=str(error))
        return
    finally:
        await stop_consumer(consumer)
    offsets = {f"{tp.topic}/{tp.partition}": at.offset for tp, at in former.items()}
    log.warning("former_group_taken_over", former=FORMER_GROUP, group=settings.group, offsets=offsets)
