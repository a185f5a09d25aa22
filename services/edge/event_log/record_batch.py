"""A Kafka batch (message format 2) of one record, written in one piece and compressed once.

Stands in for aiokafka's BatchBuilder, which copies a record four times on its way, and compresses more slowly.
"""

import struct
import time
import zlib
from collections.abc import Callable

import zstandard
from aiokafka.codec import lz4_encode, snappy_encode
from aiokafka.record.util import calc_crc32c, encode_varint

from services.contract.log.envelope import IDS_HEADER, TRACE_HEADER, Envelope

# Base offset, length, leader's epoch, magic, CRC; attributes, last offset, first and last time, producer's id and
# epoch, sequence number, count of records. The broker sets offset and leader's epoch.
_HEAD = struct.Struct(">qiibI")
_REST = struct.Struct(">hiqqqhii")
_MAGIC = 2
# The length counts what follows it.
_LENGTH_ENDS_AT = 12
_IDS_HEADER = IDS_HEADER.encode()
_TRACE_HEADER = TRACE_HEADER.encode()
# zstd's "fast" levels are below 0. This one makes records smaller than snappy does, in three quarters of its time.
_ZSTD_LEVEL = -3

# The codec's number among the attributes, and what compresses.
CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (0, bytes),
    "gzip": (1, lambda data: zlib.compress(data, 1, 31)),
    "snappy": (2, snappy_encode),
    "lz4": (3, lz4_encode),
    "zstd": (4, zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress),
}


class RecordBatch:
    """An envelope as one record. The methods are those of BatchBuilder that the producer's `send_batch` leads to."""

    def __init__(self, envelope: Envelope, compression: str) -> None:
        self._codec, compress = CODECS[compression]
        self._records = compress(_record(envelope))
        self._time_ms = int(time.time() * 1000)
        self._producer = (-1, -1, -1)

    @property
    def size(self) -> int:
        """Bytes of the batch as it is sent."""
        return _HEAD.size + _REST.size + len(self._records)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        rest = _REST.pack(self._codec, 0, self._time_ms, self._time_ms, *self._producer, 1) + self._records
        length = _HEAD.size - _LENGTH_ENDS_AT + len(rest)
        return _HEAD.pack(0, length, -1, _MAGIC, calc_crc32c(rest)) + rest

    def record_count(self) -> int:
        return 1

    def closed(self) -> bool:
        return True


def _record(envelope: Envelope) -> bytes:
    lines, ids, trace = envelope.lines, envelope.ids, envelope.trace
    before = bytearray(3)  # attributes, differences of time and of offset: none
    encode_varint(-1, before.append)  # no key
    encode_varint(len(lines), before.append)
    between = bytearray()
    encode_varint(2 if trace else 1, between.append)  # headers
    encode_varint(len(_IDS_HEADER), between.append)
    between += _IDS_HEADER
    encode_varint(len(ids), between.append)
    behind = _header(_TRACE_HEADER, trace) if trace else b""
    size = bytearray()
    encode_varint(len(before) + len(lines) + len(between) + len(ids) + len(behind), size.append)
    return b"".join((size, before, lines, between, ids, behind))


def _header(name: bytes, value: bytes) -> bytes:
    header = bytearray()
    encode_varint(len(name), header.append)
    header += name
    encode_varint(len(value), header.append)
    return bytes(header + value)
