"""HTTP content encodings of request bodies and of answers."""

import gzip
import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame  # type: ignore[import-untyped]
import zstandard

from services.devstack.clickhouse.errors import ClickHouseError

# A body is held in memory. Far above any block that the worker sends.
MAX_BODY_BYTES = 1024**3


class Encoder(Protocol):
    """Compresses one answer, piece by piece. What `encode` returns may be empty."""

    def encode(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def decode(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding. Raises ClickHouseError."""
    if encoding in ("", "identity"):
        return body
    decoder = _DECODERS.get(encoding)
    if decoder is None:
        raise ClickHouseError(48, "NOT_IMPLEMENTED", f"Unknown HTTP content encoding {encoding}.")
    try:
        return decoder(body)
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error, zstandard.ZstdError) as error:
        raise ClickHouseError(354, "ZLIB_INFLATE_FAILED", f"The body is not valid {encoding}: {error}.") from None


def encoder_for(accept_encoding: str) -> tuple[str, Encoder] | None:
    """The cheapest encoding that the client takes, and a fresh encoder."""
    accepted = {part.split(";")[0].strip().lower() for part in accept_encoding.split(",")}
    for name, make in _ENCODERS.items():
        if name in accepted:
            return name, make()
    return None


def _unzstd(body: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
        return reader.read()


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "x-gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": _unzstd,
    "lz4": lz4.frame.decompress,
}


class _Zlib:
    """gzip (window bits 31) or deflate (15)."""

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.compressobj(level=1, wbits=window_bits)

    def encode(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=1).compressobj()

    def encode(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Lz4:
    def __init__(self) -> None:
        self._stream = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def encode(self, data: bytes) -> bytes:
        head = b"" if self._begun else bytes(self._stream.begin())
        self._begun = True
        return head + bytes(self._stream.compress(data))

    def finish(self) -> bytes:
        return self.encode(b"") + bytes(self._stream.flush())


_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _Lz4,
    "zstd": _Zstd,
    "gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
}
