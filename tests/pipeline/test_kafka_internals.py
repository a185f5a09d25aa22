"""What we use of Faust and aiokafka beyond their documented interfaces still does what we rely on, on a real broker.

Both are pinned. A newer version that behaves otherwise fails here, and not in an installation.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, OffsetOutOfRangeError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest
from aiokafka.record._crecords import default_records
from aiokafka.structs import OffsetAndMetadata

from services.contract.log.envelope import IDS_HEADER
from services.devstack.apache_kafka import ApacheKafka
from services.runtime.kafka import stop_consumer
from services.runtime.log_reader import LogReader
from services.runtime.settings import WorkerSettings
from services.worker.consumer import chunk_thread, transport
from services.worker.consumer.faust_app import FaustApp, consume, faust_settings
from services.worker.consumer.positions import find_places
from services.worker.consumer.transport import CHUNK_BYTES, ChunkConsumer, ChunkTransport
from services.worker.events.block_buffer import BlockBuffer, BlockLimits
from services.worker.record import Record

TIMEOUT_S = 30
# A connection of aiokafka's that opens while its group is left is closed by nobody.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
async def topic(apache: ApacheKafka) -> str:
    """Of two partitions."""
    name = f"t{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=apache.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 2, 1)])
    finally:
        await admin.close()
    return name


async def send(apache: ApacheKafka, topic: str, values: list[bytes], partition: int = 0, **options: Any) -> None:
    async with AIOKafkaProducer(bootstrap_servers=apache.bootstrap, **options) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=partition, headers=[(IDS_HEADER, b"i" * 16)])


async def send_as_one(apache: ApacheKafka, topic: str, values: list[bytes]) -> None:
    """In one batch, as large as a fetch may become."""
    async with AIOKafkaProducer(
        bootstrap_servers=apache.bootstrap, compression_type="zstd", max_batch_size=64 * 2**20
    ) as producer:
        batch = producer.create_batch()
        for value in values:
            assert batch.append(key=None, value=value, timestamp=None, headers=[(IDS_HEADER, b"i" * 16)])
        await (await producer.send_batch(batch, topic, partition=0))


class Reader:
    """A worker's way from Kafka to blocks, without a store. `hold`: blocks wait here and are not acknowledged."""

    def __init__(self, apache: ApacheKafka, topic: str, folder: str) -> None:
        settings = WorkerSettings(
            kafka_bootstrap=apache.bootstrap, kafka_topic_prefix=topic, worker_session_timeout_s=6
        )
        self.topic = topic
        self.blocks: list[list[Record]] = []
        self.assigned = 0
        self.free = asyncio.Event()
        self.free.set()
        options = faust_settings(settings, folder) | {"web_enabled": False}
        self.app = FaustApp(settings.group, **options)
        self.app.transport = ChunkTransport(self.app.conf.broker_consumer, self.app)
        self.app.transport.kafka = settings
        limits = BlockLimits(events=1000, size_bytes=2**20, records=100, age_s=0.05)
        consume(self.app, topic, BlockBuffer(limits, self._store), 3600)
        self.app.on_partitions_assigned.connect(self._on_assigned)

    async def _store(self, records: list[Record]) -> None:
        self.blocks.append(records)
        await self.free.wait()

    async def _on_assigned(self, sender: Any, /, *args: Any, signal: Any, **_: Any) -> None:
        self.assigned += 1

    @property
    def consumer(self) -> ChunkConsumer:
        return cast(ChunkConsumer, self.app.consumer)

    @property
    def kafka(self) -> AIOKafkaConsumer:
        """aiokafka's own, which lives in a thread of its own."""
        return self.consumer._thread._ensure_consumer()

    def values(self) -> list[bytes | None]:
        return [record.value for block in self.blocks for record in block]

    async def committed(self, partition: int = 0) -> OffsetAndMetadata | None:
        tp = TopicPartition(self.topic, partition)
        found = await self.in_thread(lambda: self.kafka._coordinator.fetch_committed_offsets([tp]))
        return cast("OffsetAndMetadata | None", found.get(tp))

    async def in_thread(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await call()

        return await self.consumer._thread.call_thread(run)


@asynccontextmanager
async def running(apache: ApacheKafka, topic: str, folder: str) -> AsyncIterator[Reader]:
    """Reads, and commits every second."""
    reader = Reader(apache, topic, folder)
    # Their logs go where pytest's are; a worker of Faust's would set signals.
    await reader.app.start()
    try:
        await until(lambda: reader.assigned >= 1)
        yield reader
    finally:
        reader.free.set()
        async with asyncio.timeout(TIMEOUT_S):
            await reader.app.stop()


async def until(is_so: Callable[[], object]) -> None:
    for _ in range(int(TIMEOUT_S / 0.05)):
        if is_so():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


async def until_committed(reader: Reader, offset: int) -> None:
    for _ in range(int(TIMEOUT_S / 0.1)):
        if await committed(reader) == offset:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{offset} was not committed")


@pytest.fixture
async def reader(apache: ApacheKafka, topic: str, tmp_path: Any) -> AsyncIterator[Reader]:
    async with running(apache, topic, str(tmp_path)) as one:
        yield one


async def test_only_what_is_acknowledged_is_committed_with_its_note(
    apache: ApacheKafka, topic: str, reader: Reader
) -> None:
    """Faust's `_acked` and `_acked_index` by `ack`, its `_read_offset`, `_add_gap`, `_commit`; aiokafka's notes."""
    reader.free.clear()
    await send(apache, topic, [b"a\n", b"b\n", b"c\n"])
    await until(lambda: reader.blocks)
    await asyncio.sleep(2.5)  # two times to commit
    assert await committed(reader) in (None, 0)
    reader.free.set()
    await until(lambda: len(reader.values()) == 3)
    await until_committed(reader, 3)
    found = await reader.committed()
    assert found is not None
    assert '"' in found.metadata or ":" in found.metadata, found.metadata


async def committed(reader: Reader) -> int | None:
    found = await reader.committed()
    return None if found is None or found.offset < 0 else found.offset


async def test_a_fetch_waits_as_long_as_we_say(apache: ApacheKafka, topic: str, reader: Reader) -> None:
    """aiokafka's `_fetch_min_bytes` and `_fetch_max_wait_ms`, and all that goes through its client's `send`."""
    asked: list[FetchRequest] = []
    batches: list[bytes] = []
    client = reader.kafka._client
    send_on = client.send

    async def look(node_id: int, request: Any, **options: Any) -> Any:
        answer = await send_on(node_id, request, **options)
        if isinstance(request, FetchRequest):
            asked.append(request)
            batches.extend(part[-1] for _, parts in answer.topics for part in parts if part[-1])
        return answer

    client.send = look
    await until(lambda: asked)
    await send(apache, topic, [b"a\n"])
    await until(lambda: reader.values() == [b"a\n"] and batches and len(asked) >= 3)
    assert {(request._max_wait_ms, request._min_bytes) for request in asked} == {(100, 4 * 2**20)}
    epoch, magic = chunk_thread._EPOCH.unpack_from(batches[0])
    assert (epoch >= 0, magic) == (True, 2)


async def test_a_chunk_is_bounded_after_decompression(
    apache: ApacheKafka, topic: str, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's `FetchResult.getall` and `default_records.zstd_decode`: both are looked up when they are called."""
    decoded, chunks = [], []
    decode, message_of = transport.decode_zstd, reader.consumer._to_message

    def decode_and_count(data: bytes | memoryview) -> bytes:
        decoded.append(len(data))
        return decode(data)

    def message_and_size(tp: Any, records: Any) -> Any:
        chunks.append(sum(len(record.value) for record in records))
        return message_of(tp, records)

    assert default_records.zstd_decode is decode
    monkeypatch.setattr(default_records, "zstd_decode", decode_and_count)
    monkeypatch.setattr(reader.consumer, "_to_message", message_and_size)
    line = b"x" * (900 * 1024) + b"\n"
    await send_as_one(apache, topic, [line] * 20)
    await until(lambda: len(reader.values()) == 20)
    assert len(decoded) == 1
    assert sum(chunks) == 20 * len(line)
    assert max(chunks) < CHUNK_BYTES + len(line)


async def test_membership_is_that_of_the_last_join(topic: str, reader: Reader) -> None:
    """aiokafka's `_coordinator.member_id` and `.generation`."""
    before = reader.consumer.membership()
    assert before.member
    assert before.generation >= 1
    assigned = reader.assigned
    reader.kafka._coordinator.request_rejoin()
    await until(lambda: reader.assigned > assigned)
    after = reader.consumer.membership()
    assert after.member == before.member
    assert after.generation == before.generation + 1


async def test_after_a_rejoin_reading_goes_on_where_it_was(apache: ApacheKafka, topic: str, reader: Reader) -> None:
    """Faust calls `seek_to_committed` at each assignment, and `request_rejoin` leads to one."""
    await send(apache, topic, [b"a\n", b"b\n"])
    await until(lambda: len(reader.values()) == 2)
    await until_committed(reader, 2)
    assigned = reader.assigned
    reader.kafka._coordinator.request_rejoin()
    await until(lambda: reader.assigned > assigned)
    await send(apache, topic, [b"c\n"])
    await until(lambda: b"c\n" in reader.values())
    assert reader.values() == [b"a\n", b"b\n", b"c\n"]


class Gate:
    """The first block is let through alone."""

    def __init__(self) -> None:
        self.first, self._others = asyncio.Event(), asyncio.Event()
        self._blocks = 0

    async def wait(self) -> None:
        self._blocks += 1
        await (self.first if self._blocks == 1 else self._others).wait()

    def set(self) -> None:
        self.first.set()
        self._others.set()


async def test_what_was_read_before_its_place_was_looked_for_again_is_not_committed(
    apache: ApacheKafka, topic: str, reader: Reader
) -> None:
    """Faust's `_acked`, and its `perform_seek` while it waits for what was read before: the log may have other records at
    these offsets by then."""
    gate = Gate()
    reader.free = cast(asyncio.Event, gate)
    await send(apache, topic, [b"a\n", b"b\n", b"c\n"])
    await until(lambda: reader.blocks)
    await reader.consumer.perform_seek()
    gate.first.set()
    await until(lambda: len(reader.blocks) == 2)
    await asyncio.sleep(2.5)  # two times to commit
    assert await committed(reader) in (None, 0)
    gate.set()
    await until_committed(reader, 3)
    assert reader.values() == 2 * [b"a\n", b"b\n", b"c\n"]
    place = TopicPartition(topic, 0)
    assert not await reader.in_thread(lambda: reader.consumer._thread._commit({place: 100}))
    assert await committed(reader) == 3


async def test_no_position_is_reset_by_itself(apache: ApacheKafka, topic: str) -> None:
    """aiokafka's `auto_offset_reset="none"`: an error that names the partitions with their offsets."""
    await send(apache, topic, [b"a\n"])
    consumer = AIOKafkaConsumer(bootstrap_servers=apache.bootstrap, auto_offset_reset="none", enable_auto_commit=False)
    await consumer.start()
    try:
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        consumer.seek(tp, 40)
        with pytest.raises(OffsetOutOfRangeError) as raised:
            await asyncio.wait_for(read_for_ever(consumer), TIMEOUT_S)
        assert raised.value.args[0] == {tp: 40}
        assert await consumer.position(tp) == 40
    finally:
        await consumer.stop()


async def read_for_ever(consumer: AIOKafkaConsumer) -> None:
    while True:
        await consumer.getmany(timeout_ms=200)


async def test_a_displaced_partition_joins_again_and_reads_from_a_found_place(
    apache: ApacheKafka, topic: str, reader: Reader
) -> None:
    """A position beyond the end, as after a log that lost its end, ends with everything read and nothing dropped."""
    await send(apache, topic, [b"a\n"])
    await until(lambda: reader.values() == [b"a\n"])
    tp = TopicPartition(topic, 0)
    assigned = reader.assigned

    async def beyond() -> None:
        reader.kafka.seek(tp, 1000)

    await reader.in_thread(beyond)
    await until(lambda: reader.assigned > assigned)
    await send(apache, topic, [b"b\n"])
    await until(lambda: b"b\n" in reader.values())
    assert set(reader.values()) == {b"a\n", b"b\n"}


async def answer_first(reader: Reader, request: type, answers: list[Any]) -> None:
    """The next requests of a kind to the group's coordinator get these answers; those behind them the broker's."""

    async def replace() -> None:
        coordinator = reader.kafka._coordinator
        send = coordinator._send_req

        async def send_or_answer(asked: Any) -> Any:
            return answers.pop(0) if answers and isinstance(asked, request) else await send(asked)

        coordinator._send_req = send_or_answer

    await reader.in_thread(replace)


UNKNOWN_SERVER_ERROR = -1


async def test_a_join_that_failed_is_tried_again(apache: ApacheKafka, topic: str, reader: Reader) -> None:
    """aiokafka's `_push_error_to_user`, which without us waits for ever: Faust stops to fetch while the group moves."""
    answers: list[Any] = [SimpleNamespace(error_code=UNKNOWN_SERVER_ERROR)] * 2
    await answer_first(reader, JoinGroupRequest, answers)
    assigned = reader.assigned
    reader.kafka._coordinator.request_rejoin()
    await until(lambda: reader.assigned > assigned)
    await send(apache, topic, [b"a\n"])
    await until(lambda: reader.values() == [b"a\n"])
    assert answers == []
    assert reader.app.crash_reason is None


async def test_after_a_heartbeat_that_failed_the_group_is_joined_again(
    apache: ApacheKafka, topic: str, reader: Reader
) -> None:
    """aiokafka's `_heartbeat_task` ends with it; records go on to be read, and the worker stays a member."""
    assigned = reader.assigned
    await answer_first(reader, HeartbeatRequest, [SimpleNamespace(error_code=UNKNOWN_SERVER_ERROR)])
    await until(lambda: reader.assigned > assigned)
    heartbeat = reader.kafka._coordinator._heartbeat_task
    assert heartbeat is not None
    assert not heartbeat.done()
    await send(apache, topic, [b"a\n"])
    await until_committed(reader, 1)
    assert reader.app.crash_reason is None


async def test_a_commit_that_failed_is_tried_again(apache: ApacheKafka, topic: str, reader: Reader) -> None:
    failed = SimpleNamespace(topics=[(topic, [(0, UNKNOWN_SERVER_ERROR)])])
    await answer_first(reader, OffsetCommitRequest, [failed, failed])
    await send(apache, topic, [b"a\n"])
    await until_committed(reader, 1)
    assert reader.app.crash_reason is None


async def test_a_place_that_kafka_does_not_tell_is_asked_for_again(
    apache: ApacheKafka, topic: str, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust's recovery calls `seek_to_committed`, and ends without a word where that raises."""
    failures = [KafkaConnectionError("no broker"), TimeoutError()]

    async def fail_first(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await find_places(*arguments)

    monkeypatch.setattr("services.worker.consumer.chunk_thread.find_places", fail_first)
    assigned = reader.assigned
    reader.kafka._coordinator.request_rejoin()
    await until(lambda: reader.assigned > assigned and not failures)
    await send(apache, topic, [b"a\n"])
    await until(lambda: reader.values() == [b"a\n"])
    assert reader.app.crash_reason is None


async def test_a_look_into_the_log_that_asks_nothing_cancels_nobody(apache: ApacheKafka) -> None:
    """aiokafka's `stop` awaits a task that it has cancelled. Before its first step such a task is cancelled for all who wait
    for it: whoever stops a reader right after its start is cancelled as well."""
    async with LogReader.connected(WorkerSettings(kafka_bootstrap=apache.bootstrap)):
        pass


async def test_a_worker_that_no_partition_is_left_for_waits(apache: ApacheKafka, topic: str, tmp_path: Any) -> None:
    async with AsyncExitStack() as opened:
        readers = [
            await opened.enter_async_context(running(apache, topic, str(tmp_path / str(number)))) for number in range(3)
        ]
        await until(lambda: sorted(len(one.kafka.assignment()) for one in readers) == [0, 1, 1])
        await asyncio.sleep(3)
        assert [one.app.crash_reason for one in readers] == [None] * 3
        await send(apache, topic, [b"a\n"])
        await until(lambda: [value for one in readers for value in one.values()] == [b"a\n"])


@pytest.mark.parametrize("kind", [JoinGroupRequest, HeartbeatRequest])
async def test_a_right_that_is_missing_ends_the_worker(topic: str, reader: Reader, kind: type) -> None:
    code = GroupAuthorizationFailedError.errno
    await answer_first(reader, kind, [SimpleNamespace(error_code=code)] * 5)
    reader.kafka._coordinator.request_rejoin()
    await until(lambda: reader.app.crash_reason)
    assert "GroupAuthorizationFailed" in str(reader.app.crash_reason)


async def test_a_worker_ends_with_its_membership(topic: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka's `_coordination_task`, whose error nobody else looks at."""

    async def fail(*_: Any) -> None:
        raise AssertionError("of a listener")

    monkeypatch.setattr(reader.kafka._coordinator, "_on_join_complete", fail)
    reader.kafka._coordinator.request_rejoin()
    await until(lambda: reader.app.crash_reason)
    assert "of a listener" in str(reader.app.crash_reason)


async def rests_after_a_failed_fetch(consumer: AIOKafkaConsumer, topic: str) -> None:
    failed = asyncio.Event()
    send_well = consumer._client.send

    async def send_no_fetch(node_id: int, request: Any, **options: Any) -> Any:
        if isinstance(request, FetchRequest):
            failed.set()
            raise KafkaConnectionError("gone")
        return await send_well(node_id, request, **options)

    consumer._client.send = send_no_fetch
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek(TopicPartition(topic, 0), 0)
    async with asyncio.timeout(TIMEOUT_S):
        await failed.wait()
    await asyncio.sleep(0.01)


async def test_whoever_stops_a_consumer_that_rests_is_cancelled(apache: ApacheKafka, topic: str) -> None:
    """Which is why nobody calls `stop` alone."""
    options: dict[str, Any] = {"bootstrap_servers": apache.bootstrap, "retry_backoff_ms": 60_000}
    consumer = AIOKafkaConsumer(**options)
    await consumer.start()
    await rests_after_a_failed_fetch(consumer, topic)
    with pytest.raises(asyncio.CancelledError):
        await consumer.stop()
    await consumer._client.close()
    consumer = AIOKafkaConsumer(**options)
    await consumer.start()
    await rests_after_a_failed_fetch(consumer, topic)
    await stop_consumer(consumer)
    assert not [each for each in consumer._client._conns.values() if each.connected()]


async def test_a_reader_stops_quietly_at_any_moment(apache: ApacheKafka, topic: str) -> None:
    settings = WorkerSettings(kafka_bootstrap=apache.bootstrap)
    async with LogReader.connected(settings):
        pass
    async with LogReader.connected(settings) as reader:
        await rests_after_a_failed_fetch(reader._consumer, topic)
