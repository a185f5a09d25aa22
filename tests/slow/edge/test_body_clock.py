"""No body, whatever it holds, keeps the loop from the others for long: neither while it comes in, nor while it is read."""

import gc
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import brotli
import pytest
import zstandard
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.runtime.keys import KeyCache
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.keys import MemoryKeyStore
from tests.fakes.transport import MemoryConnection
from tests.support.examples import examples
from tests.unit.edge.conftest import INGEST_KEY, application

# What nobody may take at a time. The bound is CPU time.
LONGEST_STEP_S = 0.05
# Larger ones are worked on in a thread; up to here the loop does it.
SIZES = st.sampled_from(
    [16 * 1024, 16 * 1024 + 1, 64 * 1024, 200_000, 500_000, 1024 * 1024, 1024 * 1024 + 1, 1_900_000]
)
CALLS = ("track", "batch", "identify", "alias", "group")
# What a body is made of, over and over. `%d` becomes a number that grows.
PIECES = st.sampled_from(
    [
        b"0",
        b"[",
        b"{",
        b'"',
        b"\\",
        b",",
        b"{},",
        b'{"a":',
        b"[[",
        b"\x00",
        b"\xff",
        b" ",
        b"1e400,",
        b"9" * 400,
        b'"\\ud83d",',
        b'"\\u0000",',
        b'"zz%d":%d,',
        b'"zz%d":[],',
        b'{"event":"e","distinct_id":"u"},',
        b'{"event":"e","distinct_id":"u","zz%d":1},',
        b'{"event":"","distinct_id":"u"},',
        b'{"event":"e","distinct_id":"undefined","properties":{"a%d":NaN}},',
        b'{"event":"e","distinct_id":"u","timestamp":"2026-11-20T00:00:%d","idempotency_key":"%d"},',
        b'{"event":"e","distinct_id":"u","properties":{"a":"\\ud83d","a":1e999}},',
    ]
)
AROUND = st.sampled_from(
    [
        (b"", b""),
        (b"[", b"]"),
        (b'{"events":[', b"]}"),
        (b'{"events":[', b"0]}"),
        (b'{"zz":[', b'0],"event":"e","distinct_id":"u"}'),
        (b'{"event":"e","distinct_id":"u","properties":{', b'"z":1}}'),
        (b'{"distinct_id":"u","traits":{', b'"z":1}}'),
        (b'{"event":"', b'","distinct_id":"u"}'),
    ]
)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "br": partial(brotli.compress, quality=5),
}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    pieces = draw(st.lists(PIECES, min_size=1, max_size=3))
    before, after = draw(AROUND)
    size = draw(SIZES) - len(before) - len(after)
    piece = b"".join(pieces)
    if b"%d" not in piece:
        return before + piece * (size // len(piece)) + after
    holes = piece.count(b"%d")
    template = piece.replace(b"%d", b"%(n)d")
    count = size // (len(piece) + 4 * holes)
    return before + b"".join(template % {b"n": 10_000 + number} for number in range(count)) + after


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    """Looking for cycles among all objects of the test process is no step of ours."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@given(body=bodies(), call=st.sampled_from(CALLS), encoding=st.sampled_from(list(COMPRESS)))
@examples(200, suppress_health_check=list(HealthCheck))
async def test_no_body_takes_long(body: bytes, call: str, encoding: str) -> None:
    status = await status_of(COMPRESS[encoding](body), call, encoding)
    assert status in (200, 207, 400, 413)


# One byte of brotli's output, and 256 tables that are made for it: values, each with how many bits it has.
_HEAD = [(0, 1), (0, 2), (0, 16), (0, 1), (0, 3), (0, 6), (0, 2)]  # not the last, its length, no types of blocks
_TABLES = [(1, 1), (7, 3), (127, 7), (0, 1), (1, 4), (0, 8), (0, 1), (0, 1), *[(1, 4), (0, 8)] * 256]
_BYTE_OF_TABLES = [*_HEAD, *_TABLES, (1, 4), (8, 10), (1, 4), (0, 6)]


def brotli_of_tables(size: int) -> bytes:
    number = at = 0
    for value, bits in _BYTE_OF_TABLES * 8:  # eight end where a byte ends
        number |= value << at
        at += bits
    repeated = number.to_bytes(at // 8, "little") * (size * 8 // at)
    whole = int.from_bytes(repeated, "little") << 1 | 0b11 << 8 * len(repeated) + 1  # a window of 64 KiB; the end
    return whole.to_bytes(len(repeated) + 1, "little")


async def test_brotli_that_is_nothing_but_work_is_done_beside_the_loop() -> None:
    """A megabyte of it takes as long as a step may, and gives next to nothing."""
    body = brotli_of_tables(1_900_000)
    assert len(brotli.decompress(body)) < 5000
    assert await status_of(body, "track", "br") == 400


async def status_of(sent: bytes, call: str, encoding: str) -> int:
    """Of the answer. Fails where a step of the loop takes too long."""
    store = MemoryKeyStore()
    store.put(INGEST_KEY, "shop", "ingest")
    keys = KeyCache(store, refresh_s=60)
    await keys.refresh()
    client = MemoryConnection(application(MemoryEventLog(), keys))
    head = (
        f"POST /v1/analytics/{call} HTTP/1.1\r\nauthorization: Bearer {INGEST_KEY}\r\n"
        f"content-encoding: {encoding}\r\ncontent-length: {len(sent)}\r\n\r\n"
    )
    await client.send(head.encode() + sent)
    answer = await client.answer(within_s=20)
    assert client.longest_step_s < LONGEST_STEP_S
    assert json.loads(answer.partition(b"\r\n\r\n")[2])
    return int(answer.split()[1])
