"""Decompresses a body, within the limit on what it may become."""

import io
import zlib

import brotli
import zstandard

from services.contract.api.errors import ApiError, ErrorCode

_ENCODINGS = "gzip, deflate, zstd and br"
_ZSTD_MAX_WINDOW_BYTES = 8 * 1024 * 1024
# No text has these, nor has their frame so many: one that is cut may take the frame's bytes for its own.
_END = b"\xff" * 64
_ZSTD_END = zstandard.compress(_END)
_PIECE_BYTES = 64 * 1024
# Each further gzip member costs some microseconds before its first byte. A block-wise gzip of 10 MiB has 160.
_MAX_MEMBERS = 200
SEND_FEWER = "Send fewer events at once."


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress, at most `max_bytes`. Raises ApiError."""
    inflated = inflate_some(body, encoding, max_bytes)
    if len(inflated) > max_bytes:
        raise ApiError(
            ErrorCode.BODY_TOO_LARGE, f"The body is larger than {max_bytes} bytes (decompressed). {SEND_FEWER}"
        )
    return inflated


def inflate_some(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The whole, or `max_bytes` + 1 bytes of a larger one. Raises ApiError."""
    try:
        if encoding in ("gzip", "x-gzip"):
            return _inflate_zlib(body, 31, max_bytes)
        if encoding == "deflate":
            return _inflate_deflate(body, max_bytes)
        if encoding == "zstd":
            return _inflate_zstd(body, max_bytes)
        if encoding == "br":
            return _inflate_brotli(body, max_bytes)
    except (zlib.error, zstandard.ZstdError, brotli.error, EOFError) as error:
        advice = "Compress it so, or leave out `Content-Encoding`."
        raise ApiError(ErrorCode.INVALID_ENCODING, f"The body is not valid {encoding}: {error}. {advice}") from error
    raise ApiError(
        ErrorCode.UNSUPPORTED_ENCODING,
        f"Content-Encoding `{encoding[:100]}` is not taken. Use one of {_ENCODINGS}, or none.",
    )


def _inflate_deflate(body: bytes, max_bytes: int) -> bytes:
    """RFC 9110 means the zlib format; some clients send raw deflate."""
    try:
        return _inflate_zlib(body, 15, max_bytes)
    except zlib.error as error:
        try:
            return _inflate_zlib(body, -15, max_bytes)
        except zlib.error:
            raise error from None


def _inflate_zlib(body: bytes, window_bits: int, max_bytes: int) -> bytes:
    """Read in pieces: of what follows a gzip member zlib makes a copy."""
    inflated: list[bytes] = []
    size, members, at = 0, 0, 0
    stream, rest = zlib.decompressobj(window_bits), b""
    while rest or at < len(body):
        if not rest:
            rest = body[at : at + _PIECE_BYTES]
            at += len(rest)
        if stream.eof:
            rest = rest.lstrip(b"\0")  # a further gzip member, or padding
            if not rest:
                continue
            members += 1
            if members >= _MAX_MEMBERS:
                raise zlib.error(f"it has more than {_MAX_MEMBERS} members")
            stream = zlib.decompressobj(window_bits)
        piece = stream.decompress(rest, max_bytes + 1 - size)
        inflated.append(piece)
        size += len(piece)
        if size > max_bytes:
            break
        rest = stream.unused_data if stream.eof else stream.unconsumed_tail
    if body and size <= max_bytes and not stream.eof:
        raise EOFError("it ends too early")
    return b"".join(inflated)


def _inflate_zstd(body: bytes, max_bytes: int) -> bytes:
    """The reader does not say whether a frame has ended. One more behind the last is read only where it has."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW_BYTES)
    source = io.BytesIO(body + _ZSTD_END)
    with decompressor.stream_reader(source, read_across_frames=True) as stream:
        inflated = stream.read(max_bytes + 1 + len(_END))
    if len(inflated) > max_bytes + len(_END):
        return inflated[: max_bytes + 1]
    if not inflated.endswith(_END):
        raise EOFError("it ends too early")
    return inflated.removesuffix(_END)


def _inflate_brotli(body: bytes, max_bytes: int) -> bytes:
    """In pieces, both in and out: of what it has not read yet it makes a copy, and its limit is on when it stops, not on
    what it gives. It has no checksum, and raises where something follows its end in a piece."""
    inflated: list[bytes] = []
    size, at = 0, 0
    stream = brotli.Decompressor()
    while body and size <= max_bytes and not stream.is_finished():
        rest = body[at : at + _PIECE_BYTES] if stream.can_accept_more_data() else b""
        at += len(rest)
        piece = stream.process(rest, output_buffer_limit=_PIECE_BYTES)
        if not piece and not rest and stream.can_accept_more_data():
            raise EOFError("it ends too early")
        inflated.append(piece[: max_bytes + 1 - size])
        size += len(piece)
    if size <= max_bytes and at < len(body):
        raise EOFError("something follows its end")
    return b"".join(inflated)
