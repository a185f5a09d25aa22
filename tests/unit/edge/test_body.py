"""A request's body: media types, encodings, and limits that are met before anything large exists."""

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import brotli
import pytest
import zstandard
from starlette.requests import Request
from starlette.types import Message

from services.contract.api.errors import ApiError, ErrorCode
from services.edge.http.body import Bodies, Body
from services.edge.http.inflate import inflate
from services.edge.http.rate_limit import RateLimit
from services.runtime.byte_budget import ByteBudget

LIMIT = 1024 * 1024
TEXT = b'{"event": "a", "distinct_id": "b"}' * 20


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "br": partial(brotli.compress, quality=5),
}
EVERY_ENCODING = pytest.mark.parametrize("encoding", list(COMPRESS))


def request(chunks: list[bytes], headers: dict[str, str] | None = None) -> Request:
    """A request whose body comes in these chunks."""
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        + [{"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive() -> Message:
        return next(messages)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


async def read_body(request: Request, max_bytes: int) -> bytes:
    bodies = Bodies(max_bytes, ByteBudget(64 * 1024 * 1024), RateLimit(0))
    with await bodies.read(request, "shop") as body:
        return body.data


def refusal(body: bytes, encoding: str, limit: int = LIMIT) -> ApiError:
    with pytest.raises(ApiError) as refused:
        inflate(body, encoding, limit)
    return refused.value


@EVERY_ENCODING
@pytest.mark.parametrize("data", [TEXT, b"x", b"\0" * LIMIT, bytes(range(256)) * 4096], ids=["text", "1", "0s", "all"])
def test_what_was_compressed_comes_back(encoding: str, data: bytes) -> None:
    assert inflate(COMPRESS[encoding](data), encoding, LIMIT) == data


def test_deflate_may_come_without_the_zlib_frame() -> None:
    assert inflate(raw_deflate(TEXT), "deflate", LIMIT) == TEXT


@pytest.mark.parametrize(
    ("body", "reason"),
    [(zlib.compress(TEXT)[:-4] + b"\0\0\0\0", "incorrect data check"), (TEXT, "incorrect header check")],
)
def test_of_deflate_it_is_said_what_is_wrong_with_the_zlib_format(body: bytes, reason: str) -> None:
    """Rather than that it is no raw deflate, which hardly anybody sends."""
    with pytest.raises(ApiError, match=reason):
        inflate(body, "deflate", LIMIT)


def test_gzip_may_have_several_members_and_padding() -> None:
    assert inflate(gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 512, "gzip", LIMIT) == b"one two"


def test_zstd_may_have_several_frames() -> None:
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    assert inflate(zstandard.compress(b"one ") + skippable + zstandard.compress(b"two"), "zstd", LIMIT) == b"one two"


def test_zstd_without_its_size_in_the_header() -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    assert inflate(stream.compress(TEXT) + stream.flush(), "zstd", LIMIT) == TEXT


@EVERY_ENCODING
def test_the_limit_is_on_what_comes_out(encoding: str) -> None:
    compress = COMPRESS[encoding]
    assert len(inflate(compress(b"a" * 1000), encoding, 1000)) == 1000
    error = refusal(compress(b"a" * 1001), encoding, 1000)
    assert (error.code, error.field) == (ErrorCode.BODY_TOO_LARGE, None)
    assert "larger than 1000 bytes (decompressed)" in error.message
    if encoding != "br":  # has no second stream behind the first
        assert refusal(compress(b"a" * 600) + compress(b"a" * 600), encoding, 1000).code is ErrorCode.BODY_TOO_LARGE


@EVERY_ENCODING
def test_a_truncated_body_is_refused_or_only_lacks_its_checksum(encoding: str) -> None:
    whole = (
        zstandard.ZstdCompressor(write_checksum=True).compress(TEXT) if encoding == "zstd" else COMPRESS[encoding](TEXT)
    )

    def outcome(size: int) -> bytes | ErrorCode:
        try:
            return inflate(whole[:size], encoding, LIMIT)
        except ApiError as error:
            return error.code

    outcomes = [outcome(size) for size in range(1, len(whole))]
    assert set(outcomes) <= {ErrorCode.INVALID_ENCODING, TEXT}
    assert outcomes.count(TEXT) <= 4


@EVERY_ENCODING
def test_a_long_truncated_body_is_refused(encoding: str) -> None:
    """Of a long one some is whole: blocks, pieces."""
    text = bytes(random.Random(1).choices(b"abcdefgh{}[],:", k=600_000))
    whole = COMPRESS[encoding](text)
    assert inflate(whole, encoding, LIMIT) == text
    for size in (1000, len(whole) // 3, len(whole) // 2, len(whole) - 100, len(whole) - 9):
        assert refusal(whole[:size], encoding).code is ErrorCode.INVALID_ENCODING


@EVERY_ENCODING
def test_a_truncated_body_that_nothing_makes_smaller_is_refused(encoding: str) -> None:
    """What is short, or random, stands in it as it is, without a mark where it ends."""
    for text in (b'{"event":"x","distinct_id":"u"}', random.Random(2).randbytes(2000)):
        whole = COMPRESS[encoding](text)
        assert inflate(whole, encoding, LIMIT) == text
        for size in range(1, len(whole)):
            assert refusal(whole[:size], encoding).code is ErrorCode.INVALID_ENCODING


@EVERY_ENCODING
@pytest.mark.parametrize("garbage", [b"x", b"{}", b"x" * 100_000])
def test_garbage_behind_the_end_is_refused(encoding: str, garbage: bytes) -> None:
    assert refusal(COMPRESS[encoding](TEXT) + garbage, encoding).code is ErrorCode.INVALID_ENCODING


@EVERY_ENCODING
@pytest.mark.parametrize(
    "garbage",
    [b"{}", b"\xff" * 100, b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x9c\xff\xff\xff", bytes(range(256))],
    ids=["json", "ff", "gzip magic", "zstd magic", "zlib header", "all bytes"],
)
def test_garbage_is_refused(encoding: str, garbage: bytes) -> None:
    error = refusal(garbage, encoding)
    assert error.code is ErrorCode.INVALID_ENCODING
    assert f"not valid {encoding}" in error.message


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_wrong_checksum_is_refused(encoding: str) -> None:
    whole = bytearray(COMPRESS[encoding](TEXT))
    whole[-5 if encoding == "gzip" else -1] ^= 1
    assert refusal(bytes(whole), encoding).code is ErrorCode.INVALID_ENCODING


@pytest.mark.parametrize("encoding", ["brotli", "compress", "gzip, gzip", "aws-chunked", "x" * 300])
def test_an_unknown_encoding_says_which_are_taken(encoding: str) -> None:
    error = refusal(TEXT, encoding)
    assert error.code is ErrorCode.UNSUPPORTED_ENCODING
    assert "gzip, deflate, zstd and br" in error.message
    assert len(error.message) < 250


def test_a_zstd_window_beyond_8_mib_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = stream.compress(b"x" * 1000) + stream.flush()
    assert refusal(body, "zstd").code is ErrorCode.INVALID_ENCODING


@pytest.mark.parametrize(
    "garbage",
    [b"\0", b"}", b"\3", b"x" * 100_000, brotli.compress(TEXT)],
    ids=["NUL", "json", "3", "long", "another stream"],
)
@pytest.mark.parametrize("text", [b"", TEXT], ids=["nothing", "text"])
def test_nothing_follows_the_end_of_brotli(text: bytes, garbage: bytes) -> None:
    assert refusal(brotli.compress(text) + garbage, "br").code is ErrorCode.INVALID_ENCODING


@pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 128 * 1024])
def test_nothing_follows_the_end_of_brotli_where_a_piece_ends(size: int) -> None:
    """The body is read in pieces of 64 KiB: its end may be that of a piece."""
    texts = [random.Random(size).randbytes(size - longer) for longer in range(12)]
    bodies = {len(body): (text, body) for text in texts for body in [brotli.compress(text, quality=1)]}
    text, body = bodies[size]
    assert inflate(body, "br", LIMIT) == text
    assert refusal(body + b"{}", "br").code is ErrorCode.INVALID_ENCODING
    assert refusal(body[:-1], "br").code is ErrorCode.INVALID_ENCODING


@pytest.mark.parametrize("quality", [0, 1, 5, 9, 11])
@pytest.mark.parametrize("window", [10, 16, 22, 24])
def test_brotli_of_any_quality_and_window(quality: int, window: int) -> None:
    text = b"".join(b'{"event": "a", "distinct_id": "u%d"}' % number for number in range(3000))
    assert inflate(brotli.compress(text, quality=quality, lgwin=window), "br", LIMIT) == text


def test_a_brotli_window_beyond_16_mib_is_refused() -> None:
    """The format's own largest; a larger one is another format, which browsers do not have."""
    assert refusal(b"\x11\x1e" + brotli.compress(TEXT), "br").code is ErrorCode.INVALID_ENCODING


def test_brotli_that_was_flushed_in_between() -> None:
    stream = brotli.Compressor(quality=5)
    body = b"".join(stream.process(TEXT) + stream.flush() for _ in range(10)) + stream.finish()
    assert inflate(body, "br", LIMIT) == TEXT * 10


GIB = 1024**3
ZEROS = b"\0" * (1024 * 1024)


def gibibyte_of_zeros(encoding: str) -> bytes:
    if encoding == "zstd":
        stream = zstandard.ZstdCompressor(level=1).compressobj()
        return b"".join([stream.compress(ZEROS) for _ in range(1024)]) + stream.flush()
    if encoding == "br":
        brotli_stream = brotli.Compressor(quality=1)
        return b"".join([*[brotli_stream.process(ZEROS) for _ in range(1024)], brotli_stream.finish()])
    # A mebibyte of zeros compresses to a few bytes that repeat: full blocks can be put together without compressing.
    compressor = zlib.compressobj(1, wbits=-15)
    first = compressor.compress(ZEROS) + compressor.flush(zlib.Z_FULL_FLUSH)
    body = first * 1024 + zlib.compressobj(wbits=-15).flush()
    return body if encoding == "deflate" else gzip.compress(b"")[:10] + body + b"\0" * 8


def test_a_body_of_very_many_gzip_members_is_refused_at_once() -> None:
    error = refusal(gzip.compress(b"", mtime=0) * 100_000, "gzip")
    assert error.code is ErrorCode.INVALID_ENCODING
    assert "more than 200 members" in error.message
    assert inflate(gzip.compress(b"x", mtime=0) * 200, "gzip", LIMIT) == b"x" * 200


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "application/json",
        "Application/JSON; charset=utf-8",
        " application/json ;charset=UTF-8",
        "text/plain",
        "text/plain;charset=UTF-8",
    ],
)
async def test_json_and_beacon_media_types_are_taken(media_type: str | None) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    assert await read_body(request([TEXT], headers), LIMIT) == TEXT


@pytest.mark.parametrize(
    "media_type",
    ["text/html", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", "x" * 999],
)
async def test_another_media_type_is_refused(media_type: str) -> None:
    with pytest.raises(ApiError, match="Send application/json") as refused:
        await read_body(request([TEXT], {"content-type": media_type}), LIMIT)
    assert refused.value.code is ErrorCode.UNSUPPORTED_MEDIA_TYPE
    assert len(refused.value.message) < 250


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
async def test_the_encoding_header_decides(encoding: str) -> None:
    assert await read_body(request([gzip.compress(TEXT)], {"content-encoding": encoding}), LIMIT) == TEXT


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
async def test_identity_is_no_encoding(encoding: str) -> None:
    assert await read_body(request([TEXT], {"content-encoding": encoding}), LIMIT) == TEXT


@pytest.mark.parametrize(
    "lines", [["identity", "gzip"], ["gzip", "identity"], ["gzip", "GZIP"], ["gzip, identity"], ["", "gzip"]]
)
async def test_lines_of_the_encoding_header_are_one_list(lines: list[str]) -> None:
    sent = request([gzip.compress(TEXT)])
    sent.scope["headers"] = [(b"content-encoding", line.encode()) for line in lines]
    assert await read_body(sent, LIMIT) == TEXT


async def test_lines_of_the_encoding_header_are_one_list_for_sdks_too() -> None:
    sent = request([COMPRESS["br"](TEXT)])
    sent.scope["headers"] = [
        (b"content-encoding", b""),
        (b"content-encoding", b"identity"),
        (b"content-encoding", b"br"),
    ]
    bodies = Bodies(LIMIT, ByteBudget(64 * 1024 * 1024), RateLimit(0))
    with await bodies.read_as_sent(sent, "shop") as body:
        assert body.data == TEXT


async def test_several_encodings_are_refused() -> None:
    sent = request([gzip.compress(zlib.compress(TEXT))])
    sent.scope["headers"] = [(b"content-encoding", b"deflate"), (b"content-encoding", b"gzip")]
    with pytest.raises(ApiError, match="`deflate, gzip` is not taken") as refused:
        await read_body(sent, LIMIT)
    assert refused.value.code is ErrorCode.UNSUPPORTED_ENCODING


@pytest.mark.parametrize("chunks", [[], [TEXT], [TEXT[:7], b"", TEXT[7:]], [TEXT[i : i + 1] for i in range(len(TEXT))]])
async def test_chunks_are_put_together(chunks: list[bytes]) -> None:
    assert await read_body(request(chunks), LIMIT) == b"".join(chunks)


async def test_an_announced_size_beyond_the_limit_is_refused_unread() -> None:
    async def receive() -> Message:
        raise AssertionError("the body was read")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"1048577")]}
    with pytest.raises(ApiError) as refused:
        await read_body(Request(scope, receive), LIMIT)
    assert refused.value.code is ErrorCode.BODY_TOO_LARGE


@pytest.mark.parametrize("announced", [None, "0", "5", "-1", "abc", "", "²", "1e3"])
async def test_a_body_that_is_larger_than_announced_stops_at_the_limit(announced: str | None) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 65_536

    chunks = endless()

    async def receive() -> Message:
        return {"type": "http.request", "body": await anext(chunks), "more_body": True}

    headers = [] if announced is None else [(b"content-length", announced.encode("latin-1"))]
    with pytest.raises(ApiError) as refused:
        await read_body(Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive), LIMIT)
    assert refused.value.code is ErrorCode.BODY_TOO_LARGE
    assert read == LIMIT // 65_536 + 1


async def test_an_announced_size_of_any_length_is_refused() -> None:
    with pytest.raises(ApiError) as refused:
        await read_body(request([b"{}"], {"content-length": "9" * 5000}), LIMIT)
    assert refused.value.code is ErrorCode.BODY_TOO_LARGE


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert len(await read_body(request([b"x" * LIMIT], {"content-length": str(LIMIT)}), LIMIT)) == LIMIT
    with pytest.raises(ApiError):
        await read_body(request([b"x" * LIMIT, b"x"]), LIMIT)


class Counted(RateLimit):
    """Knows what was charged."""

    def __init__(self) -> None:
        super().__init__(0)
        self.bytes = 0

    def charge_bytes(self, project_id: str, size: int, now_s: float | None = None) -> None:
        self.bytes += size


def reading(limit: int = LIMIT, memory_bytes: int = 64 * 1024 * 1024) -> tuple[Bodies, ByteBudget, Counted]:
    memory, rate_limit = ByteBudget(memory_bytes), Counted()
    return Bodies(limit, memory, rate_limit), memory, rate_limit


@pytest.mark.parametrize(
    ("chunks", "headers", "charged"),
    [
        ([TEXT], {}, len(TEXT)),
        ([TEXT, TEXT], {}, 2 * len(TEXT)),
        ([zstandard.compress(TEXT)], {"content-encoding": "zstd"}, len(TEXT)),
        ([b"x" * 100_000], {}, 100_000),
    ],
    ids=["small", "in parts", "compressed", "large"],
)
async def test_a_body_is_charged_before_it_is_looked_into(
    chunks: list[bytes], headers: dict[str, str], charged: int
) -> None:
    bodies, memory, counted = reading()
    with await bodies.read(request(chunks, headers), "shop") as body:
        assert counted.bytes == max(charged, sum(map(len, chunks)))
        assert body.data
    assert memory.held_bytes == 0


@pytest.mark.parametrize(
    ("chunks", "headers"),
    [
        ([b"x" * 600_000] * 2, {}),
        ([gibibyte_of_zeros("gzip")[:500_000]], {"content-encoding": "gzip"}),
        ([b"garbage" * 10_000], {"content-encoding": "zstd"}),
        ([b"garbage" * 10_000], {"content-encoding": "br"}),
    ],
    ids=["too large", "a bomb", "garbage", "unknown"],
)
async def test_a_refused_body_is_charged_and_holds_nothing(chunks: list[bytes], headers: dict[str, str]) -> None:
    bodies, memory, counted = reading()
    for _ in range(3):
        with pytest.raises(ApiError):
            await bodies.read(request(chunks, headers), "shop")
    assert counted.bytes == 3 * sum(map(len, chunks))
    assert memory.held_bytes == 0
    with await bodies.read(request([b"x" * 100_000]), "shop") as body:
        assert len(body.data) == 100_000


async def test_what_is_being_read_is_bounded_for_a_project_and_in_all() -> None:
    bodies, memory, _ = reading(memory_bytes=1_000_000)

    async def start(project: str) -> asyncio.Task[Body]:
        going_on = asyncio.Event()

        async def receive() -> Message:
            if not going_on.is_set():
                going_on.set()
                return {"type": "http.request", "body": b"x" * 400_000, "more_body": True}
            await asyncio.sleep(3600)
            raise AssertionError

        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        task = asyncio.create_task(bodies.read(Request(scope, receive), project))
        await asyncio.sleep(0.01)
        return task

    first, second = await start("a"), await start("b")
    of_project, in_all = await start("a"), await start("c")
    for refused, code in ((of_project, ErrorCode.RATE_LIMITED), (in_all, ErrorCode.LOG_UNAVAILABLE)):
        with pytest.raises(ApiError) as error:
            await refused
        assert error.value.code is code
        assert error.value.retry_after_s
    with await bodies.read(request([TEXT]), "a") as body:
        assert body.data == TEXT  # a single event needs none of it
    for task in (first, second):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert memory.held_bytes == 0


async def test_a_client_that_leaves_gives_its_turn_back() -> None:
    bodies, memory, _ = reading()
    with await bodies.read(request([b"x" * 100_000]), "a"):
        waiting = asyncio.create_task(bodies.read(request([b"y" * 100_000]), "b"))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    with await asyncio.wait_for(bodies.read(request([b"z" * 100_000]), "c"), 5):
        pass
    assert memory.held_bytes == 0
