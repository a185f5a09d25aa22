"""Batches are read back by the Kafka client's own reader, which is what consumers use."""

import time
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords

from services.contract.log.envelope import Envelope
from services.edge.event_log.record_batch import CODECS, RecordBatch

SMALL = Envelope(bytes(16), b"{}\n")
# Longer than 64 KiB and 2**21 bytes: lengths of three and four bytes, and more than one block of a codec.
TRACED = Envelope(bytes(32), b"{}\n{}\n", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
LARGE = Envelope(
    bytes(range(16)) * 30_000, b'{"event":"viewed","n":12345678901234567890123456789012345678901}\n' * 30_000
)


def read(batch: RecordBatch) -> Any:
    """The batch as the client reads it; its CRC is right and nothing follows it."""
    records = MemoryRecords(batch._build())
    found = records.next_batch()
    assert found is not None
    assert found.validate_crc()
    assert not records.has_next()
    return found


def only_record(batch: RecordBatch) -> Any:
    (record,) = read(batch)
    return record


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("envelope", [SMALL, LARGE, TRACED])
def test_lines_and_ids_are_read_back_whatever_the_codec(compression: str, envelope: Envelope) -> None:
    before_ms = int(time.time() * 1000)
    batch = RecordBatch(envelope, compression)
    assert read(batch).compression_type == CODECS[compression][0]
    record = only_record(batch)
    assert record.value == envelope.lines
    assert record.headers == envelope.headers()
    assert len(record.headers) == (2 if envelope.trace else 1)
    assert record.key is None
    assert record.offset == 0
    assert before_ms <= record.timestamp <= time.time() * 1000


@pytest.mark.parametrize("compression", sorted(set(CODECS) - {"none"}))
def test_codecs_make_it_smaller(compression: str) -> None:
    size = len(LARGE.lines) + len(LARGE.ids)
    assert len(RecordBatch(LARGE, compression)._build()) < size / 5


def test_the_producers_state_is_in_the_batch_however_often_it_is_built() -> None:
    batch = RecordBatch(SMALL, "zstd")
    assert (batch.record_count(), batch.closed()) == (1, True)
    batch._set_producer_state(producer_id=2**40, producer_epoch=3, base_sequence=2**31 - 1)
    found = read(batch)
    assert (found.producer_id, found.producer_epoch, found.base_sequence) == (2**40, 3, 2**31 - 1)
    assert batch._build() == batch._build()
