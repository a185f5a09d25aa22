"""Chunks as Faust's messages: what is fetched together is one message, and only what was acknowledged is committed."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import cramjam
import faust
import pytest
import zstandard
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from services.worker.consumer.transport import ChunkConsumer, ChunkTransport, chunk_of, decode_zstd

PARTITION: Any = TopicPartition("t", 3)


class Consumer(ChunkConsumer):
    """Fetches nothing by itself, and keeps what it is asked to commit."""

    committed: dict[TP, int]

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self.committed = {**self.committed, **offsets}
        return True

    def assignment(self) -> set[TP]:
        return {PARTITION}

    def read(self, *offsets: int) -> ConsumerMessage:
        """What Faust does with the records of one fetch, up to the agent."""
        message = self._to_message(PARTITION, [record(offset) for offset in offsets])
        self._read_offset[PARTITION] = message.offset
        message.incref()
        return message


def record(offset: int) -> ConsumerRecord:
    return ConsumerRecord("t", 3, offset, 1_700_000_000_500, 0, None, b"line\n", None, -1, 5, (("ids", b"i"),))


@pytest.fixture
async def consumer() -> AsyncIterator[Consumer]:
    app = faust.App("test", broker="kafka://127.0.0.1:1", store="memory://", web_enabled=False)
    app.transport = transport = ChunkTransport(app.conf.broker_consumer, app)
    app.topics.acking_topics.add("t")

    async def ignore(*_: Any) -> None: ...

    made = Consumer(
        transport, callback=ignore, on_partitions_revoked=ignore, on_partitions_assigned=ignore, loop=app.loop
    )
    made.committed = {}
    yield made
    made._thread.thread_loop.close()


def test_the_records_of_a_fetch_are_one_message(consumer: Consumer) -> None:
    message = consumer.read(7, 8, 9)
    assert (message.tp, message.offset, message.timestamp) == (PARTITION, 9, 1_700_000_000.5)
    chunk = chunk_of(message)
    assert chunk.begin == 7
    assert [item.offset for item in chunk.records] == [7, 8, 9]
    assert chunk.records[0].value == b"line\n"


async def test_a_partition_without_records_is_no_message(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(*_: Any) -> dict[TopicPartition, list[ConsumerRecord]]:
        return {PARTITION: [record(1), record(2)], TopicPartition("t", 4): []}

    monkeypatch.setattr(consumer._thread, "getmany", fetch)
    assert await consumer._getmany(None, 1.0) == {PARTITION: [[record(1), record(2)]]}


async def test_nothing_is_committed_before_it_is_acknowledged(consumer: Consumer) -> None:
    consumer.read(0, 1, 2)
    await consumer.commit()
    assert consumer.committed == {}


async def test_an_acknowledged_chunk_is_committed_whole(consumer: Consumer) -> None:
    first, second = consumer.read(0, 1, 2), consumer.read(3, 4)
    first.ack(consumer)
    await consumer.commit()
    assert consumer.committed == {PARTITION: 3}
    second.ack(consumer)
    await consumer.commit()
    assert consumer.committed == {PARTITION: 5}


async def test_what_follows_an_unacknowledged_chunk_is_not_committed(consumer: Consumer) -> None:
    first, second, third = consumer.read(0, 1, 2), consumer.read(3, 4), consumer.read(5)
    first.ack(consumer)
    third.ack(consumer)
    await consumer.commit()
    assert consumer.committed == {PARTITION: 3}
    second.ack(consumer)
    await consumer.commit()
    assert consumer.committed == {PARTITION: 6}


async def test_the_first_chunk_after_a_commit_holds_back_the_next(consumer: Consumer) -> None:
    consumer.read(0, 1, 2).ack(consumer)
    await consumer.commit()
    first, second = consumer.read(3, 4), consumer.read(5)
    second.ack(consumer)
    await consumer.commit()
    assert consumer.committed == {PARTITION: 3}
    first.ack(consumer)
    await consumer.commit()
    assert consumer.committed == {PARTITION: 6}


@pytest.mark.parametrize("chunks", [[(0, 4), (9,)], [(0,), (4, 9)], [(0, 4, 9)], [(0,), (4,), (9,)]])
async def test_offsets_without_a_record_hold_nothing_back(consumer: Consumer, chunks: list[tuple[int, ...]]) -> None:
    for message in [consumer.read(*offsets) for offsets in chunks]:
        await consumer._add_gap(PARTITION, 0, message.offset)
        message.ack(consumer)
    await consumer.commit()
    assert consumer.committed == {PARTITION: 10}


async def test_a_chunk_counts_from_what_was_committed_when_the_log_has_lost_its_beginning(consumer: Consumer) -> None:
    consumer._read_offset[PARTITION] = consumer._committed_offset[PARTITION] = 300
    consumer.read(500, 501).ack(consumer)
    await consumer.commit()
    assert consumer.committed == {PARTITION: 502}


async def test_a_commit_is_noted_for_the_watch_over_partitions_that_stand_still(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = consumer._chunks
    monkeypatch.setattr(thread, "_consumer", Mock(commit=AsyncMock(), assignment=lambda: {PARTITION}))
    assert await thread._commit({PARTITION: 3})
    assert thread.tp_last_committed_at[PARTITION] == pytest.approx(time.monotonic(), abs=30)


async def test_partitions_where_nothing_comes_do_not_hold_up_the_others_for_long(consumer: Consumer) -> None:
    reader = consumer._thread._create_worker_consumer(cast(ChunkTransport, consumer.transport))
    assert (reader._fetch_max_wait_ms, reader._fetch_min_bytes) == (100, 4 * 1024 * 1024)
    await reader.stop()


LINES = b'{"event":"a"}\n' * 5000


@pytest.mark.parametrize(
    "packed",
    [
        zstandard.ZstdCompressor().compress(LINES),
        zstandard.ZstdCompressor(write_content_size=False).compress(LINES),
        zstandard.ZstdCompressor().compress(LINES[:70]) + zstandard.ZstdCompressor().compress(LINES[70:]),
    ],
    ids=["as the edge writes it", "without its size", "in two frames"],
)
def test_zstd_of_every_producer_is_decoded(packed: bytes) -> None:
    assert decode_zstd(memoryview(packed)) == LINES


@pytest.mark.parametrize("packed", [b"no zstd", zstandard.ZstdCompressor().compress(LINES)[:-3]])
def test_what_is_no_zstd_is_an_error(packed: bytes) -> None:
    with pytest.raises(cramjam.DecompressionError):
        decode_zstd(packed)


def test_aiokafka_decodes_batches_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = DefaultRecordBatchBuilder(2, DefaultRecordBatch.CODEC_ZSTD, 0, -1, -1, -1, 1 << 20)
    builder.append(0, timestamp=1, key=None, value=LINES, headers=[])
    asked = Mock(wraps=zstandard.ZstdDecompressor().decompress)
    monkeypatch.setattr("services.worker.consumer.transport._decode_zstd", asked)
    assert [record.value for record in DefaultRecordBatch(builder.build())] == [LINES]
    asked.assert_called_once()


class Assignment:
    """Of one partition, which follows what is taken."""

    active = True
    paused = False
    position = 0

    def state_value(self, tp: TopicPartition) -> "Assignment":
        return self

    def consumed_to(self, offset: int) -> None:
        self.position = offset


def fetched(sizes: list[int], assignment: Assignment) -> FetchResult:
    """Records of such sizes, each a compressed batch, as one fetch brings them."""
    data = b""
    for offset, size in enumerate(sizes):
        builder = DefaultRecordBatchBuilder(2, 4, False, -1, -1, -1, 16 * 1024 * 1024)
        builder.append(0, 1_700_000_000_000, None, bytes(size), [])
        batch = bytearray(builder.build())
        batch[:8] = offset.to_bytes(8, "big")
        data += bytes(batch)
    records = PartitionRecords(PARTITION, MemoryRecords(data), [], 0, None, None, False, 0)
    return FetchResult(PARTITION, assignment=assignment, partition_records=records, backoff=0)


def test_a_chunk_is_bounded_by_its_decompressed_bytes() -> None:
    """What compresses to nothing would fill the process."""
    assignment = Assignment()
    fetch = fetched([1024 * 1024] * 9 + [10] * 5, assignment)
    chunks = []
    while fetch.has_more():
        chunks.append([one.offset for one in fetch.getall(2000)])
    assert chunks == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11, 12, 13]]
    assert assignment.position == 14


def test_a_chunk_is_bounded_by_its_records_too() -> None:
    fetch = fetched([10] * 5, Assignment())
    assert [[one.offset for one in fetch.getall(2)] for _ in range(3)] == [[0, 1], [2, 3], [4]]
    assert not fetch.has_more()
