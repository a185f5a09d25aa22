"""The event log over a Kafka producer in memory: acknowledged means acknowledged by the broker, and memory is bounded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
)
from msgspec import Raw, Struct

from services.contract.log.dead_letter import DeadLetter, Origin, decode_dead_letter
from services.contract.log.envelope import IDS_HEADER, EventLine, IdentityLine, unpack
from services.contract.log.event_ids import fresh_ids
from services.contract.log.topics import Partitioning
from services.edge.event_log.kafka import FAILING, KafkaEventLog
from services.edge.event_log.lost_end import LOST
from services.edge.event_log.port import LogUnavailableError
from services.edge.event_log.record_batch import RecordBatch
from services.runtime.settings import EdgeSettings
from tests.unit.edge.test_record_batch import only_record

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
PARTITIONS = 4


class Taken(Struct):
    """What the broker says of a record that it has taken; with -1 and 0 it has stamped no time on it."""

    offset: int
    timestamp: int = -1
    timestamp_type: int = 0


class Sent(Struct):
    """A record on its way. `ack` is the broker's answer."""

    topic: str
    partition: int | None
    value: bytes
    headers: dict[str, bytes]
    ack: asyncio.Future[Taken]

    @property
    def events(self) -> list[bytes]:
        return unpack(self.value, self.headers[IDS_HEADER]).lines.splitlines()


class MemoryProducer:
    """What KafkaEventLog uses of AIOKafkaProducer. Acknowledges at once, unless `acks` is off or `failure` is set."""

    def __init__(self) -> None:
        self.acks = True
        self.failure: Exception | None = None
        self.sent: list[Sent] = []
        self.stopped = False

    async def start(self) -> None:
        if self.failure:
            raise self.failure

    async def stop(self) -> None:
        self.stopped = True

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(PARTITIONS))

    async def send_batch(self, batch: RecordBatch, topic: str, *, partition: int) -> "asyncio.Future[Taken]":
        record = only_record(batch)
        return self._send(topic, partition, record.value or b"", dict(record.headers))

    async def send(self, topic: str, value: bytes) -> "asyncio.Future[Taken]":
        return self._send(topic, None, value, {})

    def _send(
        self, topic: str, partition: int | None, value: bytes, headers: dict[str, bytes]
    ) -> "asyncio.Future[Taken]":
        if isinstance(self.failure, KafkaTimeoutError):
            raise self.failure
        ack: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self.sent.append(Sent(topic, partition, value, headers, ack))
        if self.failure is not None:
            ack.set_exception(self.failure)
        elif self.acks:
            ack.set_result(Taken(-1))
        return ack


async def agree(count: int) -> Partitioning:
    return Partitioning(count)


class Log(Struct):
    """`bodies`: whether bodies are still being read; `clients`: how many connections there are."""

    log: KafkaEventLog
    producer: MemoryProducer
    bodies: list[bool]
    clients: list[int]


async def ready_log(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Log:
    producer = MemoryProducer()

    async def no_topics(*_: Any) -> None:
        return None

    async def no_settings(*_: Any) -> dict[str, dict[str, str]]:
        return {}

    async def no_reason(*_: Any) -> str:
        return ""

    monkeypatch.setattr("services.edge.event_log.kafka.ensure_topics", no_topics)
    monkeypatch.setattr("services.runtime.kafka.why_unreachable", no_reason)
    monkeypatch.setattr("services.edge.event_log.producer.topic_settings", no_settings)
    monkeypatch.setattr("services.edge.event_log.producer.make_producer", lambda *_, **__: producer)
    bodies, clients = [False], [0]
    log = KafkaEventLog(EdgeSettings(**settings), agree, lambda: bodies[0], lambda: clients[0])
    await log.start()
    return Log(log, producer, bodies, clients)


@pytest.fixture
async def kafka(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    ready = await ready_log(monkeypatch, edge_publish_timeout_s=5)
    yield ready
    for record in ready.producer.sent:
        if not record.ack.done():
            record.ack.set_result(Taken(-1))
    await ready.log.stop()


def lines_for(ids: Sequence[bytes], properties: bytes = b"{}") -> list[EventLine]:
    return [EventLine("shop", i.hex(), "a", f"user {n}", NOW, NOW, Raw(properties)) for n, i in enumerate(ids)]


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


class StandingClock:
    """The loop's clock stands still, but for what `pass_s` adds. Timers that are due run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: self._now)

    async def pass_s(self, seconds: float) -> None:
        self._now += seconds
        await settle()


async def records_of_three(kafka: Log, clock: StandingClock) -> list[int]:
    """Three single events, the second and the third a few milliseconds after the first: how many lie in each record."""
    of_first = [i for i in fresh_ids(100) if Partitioning(PARTITIONS).partition_of(i) == 0][:3]
    waiting = []
    for event_id in of_first:
        waiting.append(asyncio.create_task(kafka.log.append_events([event_id], lines_for([event_id]))))
        await clock.pass_s(0.003)
    await clock.pass_s(0.01)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    return [len(record.events) for record in kafka.producer.sent]


async def test_a_few_requests_wait_for_others(kafka: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka.clients[0] = 5
    assert await records_of_three(kafka, StandingClock(monkeypatch)) == [1, 2]


async def test_none_waits_where_half_of_the_clients_do(kafka: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka.clients[0] = 2
    assert await records_of_three(kafka, StandingClock(monkeypatch)) == [1, 1, 1]


async def test_none_waits_without_a_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = await ready_log(monkeypatch, edge_linger_ms=0)
    ready.clients[0] = 5
    assert await records_of_three(ready, StandingClock(monkeypatch)) == [1, 1, 1]
    await ready.log.stop()


async def test_each_event_is_sent_to_the_partition_of_its_id(kafka: Log) -> None:
    ids = fresh_ids(200)
    await kafka.log.append_events(ids, lines_for(ids))
    seen: list[bytes] = []
    for record in kafka.producer.sent:
        packed = record.headers[IDS_HEADER]
        of_record = [packed[i : i + 16] for i in range(0, len(packed), 16)]
        assert {Partitioning(PARTITIONS).partition_of(event_id) for event_id in of_record} == {record.partition}
        assert [line.split(b'"event_id":"')[1][:32] for line in record.events] == [i.hex().encode() for i in of_record]
        seen += of_record
    assert sorted(seen) == sorted(ids)
    assert len(kafka.producer.sent) == PARTITIONS
    assert {record.topic for record in kafka.producer.sent} == {"headrace.events"}


async def test_an_append_returns_only_after_the_last_acknowledgement(kafka: Log) -> None:
    kafka.producer.acks = False
    ids = fresh_ids(100)
    append = asyncio.create_task(kafka.log.append_events(ids, lines_for(ids)))
    await settle()
    for record in kafka.producer.sent:
        assert not append.done()
        record.ack.set_result(Taken(-1))
        await settle()
    assert append.done()
    await append


async def test_one_partition_that_fails_fails_the_append(kafka: Log) -> None:
    kafka.producer.acks = False
    ids = fresh_ids(100)
    append = asyncio.create_task(kafka.log.append_events(ids, lines_for(ids)))
    await settle()
    first, *others = kafka.producer.sent
    for record in others:
        record.ack.set_result(Taken(-1))
    first.ack.set_exception(KafkaConnectionError("gone"))
    with pytest.raises(LogUnavailableError, match="gone"):
        await append


async def test_requests_that_come_together_share_a_record(kafka: Log) -> None:
    ids = [bytes([0, 0]) + i[2:] for i in fresh_ids(300)]
    appends = [asyncio.create_task(kafka.log.append_events([i], lines_for([i]))) for i in ids]
    await asyncio.gather(*appends)
    assert sum(len(record.events) for record in kafka.producer.sent) == 300
    assert len(kafka.producer.sent) <= 3


async def test_requests_that_come_one_after_the_other_share_a_record_while_they_come(
    kafka: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.edge.event_log.kafka._GATHER_S", 60)
    ids = [bytes([0, 0]) + i[2:] for i in fresh_ids(20)]
    appends = []
    for i in ids:
        appends.append(asyncio.create_task(kafka.log.append_events([i], lines_for([i]))))
        await asyncio.sleep(0)
    await asyncio.gather(*appends)
    assert [len(record.events) for record in kafka.producer.sent] == [20]


async def test_a_topic_that_takes_more_by_now_is_looked_at_again(kafka: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was too large for the topic before is sent then; nothing but that tells an edge of it."""

    async def raised(*_: Any) -> dict[str, dict[str, str]]:
        return {"headrace.events": {"max.message.bytes": "1000000"}}

    live = kafka.log._live
    live.limits = {"headrace.events": 100}
    monkeypatch.setattr("services.edge.event_log.producer.topic_settings", raised)
    ids = fresh_ids(1)
    with pytest.raises(LogUnavailableError, match="takes 100"):
        await kafka.log.append_events(ids, lines_for(ids))
    await settle()
    await kafka.log.append_events(ids, lines_for(ids))
    assert len(kafka.producer.sent) == 1


async def test_nothing_more_is_sent_of_a_request_that_has_failed(kafka: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second half would be stored before its first, and of two events with one key the second would win."""
    kafka.log._live.limits = {"headrace.events": 100}

    async def raised(*_: Any) -> dict[str, dict[str, str]]:
        return {}

    monkeypatch.setattr("services.edge.event_log.producer.topic_settings", raised)
    ids = [bytes([0, 0]) + i[2:] for i in fresh_ids(8)]
    with pytest.raises(LogUnavailableError, match="takes 100"):
        await kafka.log.append_events(ids, lines_for(ids))
    await asyncio.sleep(0.05)
    assert kafka.producer.sent == []


async def test_bodies_that_take_turns_share_records_but_not_for_long(
    kafka: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka.bodies[0] = True
    ids = [bytes([0, 0]) + i[2:] for i in fresh_ids(3)]
    with monkeypatch.context() as patient:
        # So that a busy machine is not what ends the wait.
        patient.setattr("services.edge.event_log.kafka._GATHER_S", 30)
        first, second = (asyncio.create_task(kafka.log.append_events([i], lines_for([i]))) for i in ids[:2])
        await settle()
        assert kafka.producer.sent == []
        kafka.bodies[0] = False
        await asyncio.gather(first, second)
    assert [len(record.events) for record in kafka.producer.sent] == [2]
    kafka.bodies[0] = True
    async with asyncio.timeout(2):
        await kafka.log.append_events(ids[2:], lines_for(ids[2:]))


async def test_a_rush_that_does_not_end_holds_nothing_back_for_long(kafka: Log) -> None:
    first = asyncio.create_task(kafka.log.append_events([bytes(16)], lines_for([bytes(16)])))
    appends = []
    async with asyncio.timeout(5):
        while not first.done():
            event_id = fresh_ids(1)[0]
            appends.append(asyncio.create_task(kafka.log.append_events([event_id], lines_for([event_id]))))
            await asyncio.sleep(0)
    assert len(appends) > 1
    await asyncio.gather(first, *appends)


async def test_at_most_two_records_of_a_partition_are_on_their_way(kafka: Log) -> None:
    kafka.producer.acks = False
    appends = []
    for _ in range(6):
        event_id = bytes(16)
        appends.append(asyncio.create_task(kafka.log.append_events([event_id], lines_for([event_id]))))
        await settle()
    assert len(kafka.producer.sent) == 2
    kafka.producer.sent[0].ack.set_result(Taken(-1))
    await settle()
    assert [len(record.events) for record in kafka.producer.sent] == [1, 1, 4]
    for record in kafka.producer.sent[1:]:
        record.ack.set_result(Taken(-1))
    await asyncio.gather(*appends)


async def test_a_record_stays_below_its_size_and_a_larger_event_goes_alone(kafka: Log) -> None:
    ids = [bytes(15) + bytes([i]) for i in range(9)]
    large = b'{"x":"' + b"x" * 300_000 + b'"}'
    await kafka.log.append_events(ids, lines_for(ids, large))
    assert [len(record.value) < 768 * 1024 for record in kafka.producer.sent] == [True] * len(kafka.producer.sent)
    assert sum(len(record.events) for record in kafka.producer.sent) == 9
    kafka.producer.sent.clear()
    largest = b'{"x":"' + b"x" * 900_000 + b'"}'
    await kafka.log.append_events(ids[:2], lines_for(ids[:2], largest))
    assert [len(record.events) for record in kafka.producer.sent] == [1, 1]


async def test_a_broker_that_does_not_answer_in_time_is_no_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = await ready_log(monkeypatch, edge_publish_timeout_s=0.01)
    kafka.producer.acks = False
    with pytest.raises(LogUnavailableError, match="in time"):
        await kafka.log.append_events([bytes(16)], lines_for([bytes(16)]))
    with pytest.raises(LogUnavailableError):
        await kafka.log.append_dead_letters([letter("x")])
    kafka.producer.sent[0].ack.set_result(Taken(-1))
    await kafka.log.stop()
    assert kafka.producer.stopped


@pytest.mark.parametrize("failure", [KafkaTimeoutError(), KafkaConnectionError("gone"), OSError("gone")])
async def test_whatever_the_producer_raises_the_log_is_unavailable(kafka: Log, failure: Exception) -> None:
    kafka.producer.failure = failure
    with pytest.raises(LogUnavailableError):
        await kafka.log.append_events([bytes(16)], lines_for([bytes(16)]))
    with pytest.raises(LogUnavailableError):
        await kafka.log.append_identity([bytes(16)], [identity_line("shop")])
    with pytest.raises(LogUnavailableError):
        await kafka.log.append_dead_letters([letter("x")])
    kafka.producer.failure = None
    await kafka.log.append_events([bytes(16)], lines_for([bytes(16)]))


async def test_packed_events_can_be_appended_again(kafka: Log) -> None:
    ids = fresh_ids(20)
    packed = kafka.log.pack_events(ids, lines_for(ids))
    kafka.producer.failure = KafkaConnectionError("gone")
    with pytest.raises(LogUnavailableError):
        await kafka.log.append_packed(packed)
    kafka.producer.failure = None
    before = len(kafka.producer.sent)
    await kafka.log.append_packed(packed)
    assert sum(len(record.events) for record in kafka.producer.sent[before:]) == len(ids)


async def test_packed_events_are_appended_again_as_records_that_the_topic_takes_now(kafka: Log) -> None:
    """A topic may take less by then: the records were refused for that."""
    ids = [bytes(15) + bytes([i]) for i in range(9)]
    packed = kafka.log.pack_events(ids, lines_for(ids, b'{"x":"' + b"x" * 2_000 + b'"}'))
    await kafka.log.append_packed(packed)
    assert len(kafka.producer.sent) == len(packed)
    kafka.producer.sent.clear()
    kafka.log._live.limits = {"headrace.events": 10_000}
    await kafka.log.append_packed(packed)
    assert max(len(record.value) for record in kafka.producer.sent) < 10_000
    assert sum(len(record.events) for record in kafka.producer.sent) == len(ids)


async def test_what_waits_for_kafka_is_bounded_and_room_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = await ready_log(monkeypatch, edge_max_pending_bytes=1024 * 1024)
    kafka.producer.acks = False
    half = b'{"x":"' + b"x" * 500_000 + b'"}'
    ids = [bytes([0, i]) + bytes(14) for i in range(4)]
    appends = [asyncio.create_task(kafka.log.append_events([i], lines_for([i], half))) for i in ids[:2]]
    await settle()
    with pytest.raises(LogUnavailableError, match="too much waits"):
        await kafka.log.append_events([ids[2]], lines_for([ids[2]], half))
    assert len(kafka.producer.sent) == 2
    kafka.producer.sent[0].ack.set_exception(KafkaConnectionError("gone"))
    kafka.producer.sent[1].ack.set_result(Taken(-1))
    assert [type(result) for result in await asyncio.gather(*appends, return_exceptions=True)] == [
        LogUnavailableError,
        type(None),
    ]
    kafka.producer.acks = True
    await kafka.log.append_events([ids[3]], lines_for([ids[3]], half))
    await kafka.log.stop()


async def test_an_append_larger_than_the_bound_goes_through_when_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = await ready_log(monkeypatch, edge_max_pending_bytes=1024 * 1024)
    ids = fresh_ids(10)
    await kafka.log.append_events(ids, lines_for(ids, b'{"x":"' + b"x" * 300_000 + b'"}'))
    await kafka.log.stop()


async def test_a_request_that_goes_away_does_not_take_its_events_with_it(kafka: Log) -> None:
    kafka.producer.acks = False
    append = asyncio.create_task(kafka.log.append_events([bytes(16)], lines_for([bytes(16)])))
    await settle()
    append.cancel()
    with pytest.raises(asyncio.CancelledError):
        await append
    kafka.producer.sent[0].ack.set_result(Taken(-1))
    await settle()
    kafka.producer.acks = True
    await kafka.log.append_events([bytes(16)], lines_for([bytes(16)]))


async def test_stopping_waits_for_what_is_under_way(kafka: Log) -> None:
    kafka.producer.acks = False
    append = asyncio.create_task(kafka.log.append_events([bytes(16)], lines_for([bytes(16)])))
    await settle()
    stop = asyncio.create_task(kafka.log.stop())
    await settle()
    assert not stop.done()
    kafka.producer.sent[0].ack.set_result(Taken(-1))
    await stop
    await append
    assert kafka.producer.stopped


async def test_stopping_sends_what_has_just_been_put(kafka: Log) -> None:
    append = asyncio.create_task(kafka.log.append_events([bytes(16)], lines_for([bytes(16)])))
    await asyncio.sleep(0)
    assert not kafka.producer.sent
    await kafka.log.stop()
    assert len(kafka.producer.sent) == 1
    await append


def identity_line(project_id: str) -> IdentityLine:
    return IdentityLine(
        project_id=project_id,
        event_id=bytes(16).hex(),
        kind="alias",
        distinct_id="b",
        old_id="a",
        timestamp=NOW,
        received_at=NOW,
    )


async def test_a_projects_identity_messages_go_to_one_partition(kafka: Log) -> None:
    for event_id in fresh_ids(20):
        await kafka.log.append_identity([event_id], [identity_line("shop")])
    assert {(record.topic, record.partition) for record in kafka.producer.sent} == {
        ("headrace.identity", kafka.producer.sent[0].partition)
    }
    for project_id in ("a", "b", "c", "d"):
        await kafka.log.append_identity([bytes(16)], [identity_line(project_id)])
    assert {record.partition for record in kafka.producer.sent[20:]} == set(range(PARTITIONS))


def letter(payload: str) -> DeadLetter:
    return DeadLetter(
        code="invalid_field", message="m", origin=Origin(service="edge", index=1), payload=payload, at=NOW
    )


async def test_dead_letters_are_records_of_their_own(kafka: Log) -> None:
    letters = [letter("one"), letter("two")]
    await kafka.log.append_dead_letters(letters)
    assert [record.topic for record in kafka.producer.sent] == ["headrace.dead-letters"] * 2
    assert [decode_dead_letter(record.value) for record in kafka.producer.sent] == letters


async def test_before_kafka_has_answered_everything_is_refused() -> None:
    log = KafkaEventLog(EdgeSettings(), agree)
    for attempt in (
        log.append_events([bytes(16)], lines_for([bytes(16)])),
        log.append_identity([bytes(16)], [identity_line("shop")]),
        log.append_dead_letters([letter("x")]),
    ):
        with pytest.raises(LogUnavailableError, match="not answered yet"):
            await attempt
    assert not await log.is_ready()
    await log.stop()


async def test_a_failed_start_leaves_nothing_open_and_may_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = await ready_log(monkeypatch)
    kafka.producer.failure = KafkaConnectionError("not yet")
    log = KafkaEventLog(EdgeSettings(), agree)
    with pytest.raises(KafkaConnectionError):
        await log.start()
    assert kafka.producer.stopped
    kafka.producer.failure = None
    await log.start()
    await log.append_events([bytes(16)], lines_for([bytes(16)]))
    await log.stop()


async def test_offsets_that_are_given_again_are_records_that_kafka_has_lost(kafka: Log) -> None:
    kafka.producer.acks = False
    lost = LOST.labels("headrace.events", "0")
    before = lost.value
    for offset, gone in ((7, 0), (8, 0), (9, 0), (5, 5), (6, 5), (-1, 5), (6, 6)):
        append = asyncio.create_task(kafka.log.append_events([bytes(16)], lines_for([bytes(16)])))
        await settle()
        kafka.producer.sent[-1].ack.set_result(Taken(offset))
        await append
        assert lost.value - before == gone


def failing_partitions() -> float:
    return next(sample.value for metric in FAILING.collect() for sample in metric.samples)


async def test_a_partition_that_refuses_or_hangs_is_failing_until_it_takes_a_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready = await ready_log(monkeypatch, edge_publish_timeout_s=0.2)
    ready.producer.failure = KafkaConnectionError("gone")
    with pytest.raises(LogUnavailableError):
        await ready.log.append_events([bytes(16)], lines_for([bytes(16)]))
    assert failing_partitions() == 1
    assert not await ready.log.is_ready()
    ready.producer.failure = None
    await ready.log.append_events([bytes(16)], lines_for([bytes(16)]))
    assert failing_partitions() == 0
    ready.producer.acks = False
    with pytest.raises(LogUnavailableError):
        await ready.log.append_events([bytes(16)], lines_for([bytes(16)]))
    # The record was sent a moment after it was appended, and its time begins then.
    await asyncio.sleep(0.2)
    assert failing_partitions() == 1
    ready.producer.sent[-1].ack.set_result(Taken(7))
    await settle()
    assert failing_partitions() == 0
    await ready.log.stop()


@pytest.mark.parametrize(
    ("failure", "renewed"),
    [
        (MessageSizeTooLargeError(), True),
        (OutOfOrderSequenceNumber(), True),
        (KafkaError("Unexpected error during batch delivery"), True),
        (KafkaConnectionError("gone"), False),
        (KafkaTimeoutError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_refusal_makes_a_new_producer_and_an_outage_does_not(
    monkeypatch: pytest.MonkeyPatch, failure: KafkaError, renewed: bool
) -> None:
    ready = await ready_log(monkeypatch, edge_publish_timeout_s=0.2)
    made = [ready.producer]

    def make(*_: Any, **__: Any) -> MemoryProducer:
        made.append(MemoryProducer())
        return made[-1]

    monkeypatch.setattr("services.edge.event_log.producer.make_producer", make)
    ready.producer.failure = failure
    with pytest.raises(LogUnavailableError):
        await ready.log.append_events([bytes(16)], lines_for([bytes(16)]))
    await settle()
    assert len(made) == 1 + renewed
    assert ready.producer.stopped is renewed
    ready.producer.failure = None
    await ready.log.append_events([bytes(16)], lines_for([bytes(16)]))
    assert len(made[-1].sent) == 1 + isinstance(failure, KafkaConnectionError)
    await ready.log.stop()
