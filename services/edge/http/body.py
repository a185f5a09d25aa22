"""Reads a request's body: media type, encoding, and the limit on what it may become, met before it is inflated."""

import io
import zlib

import zstandard
from starlette.requests import Request

from services.contract.api.errors import ApiError, ErrorCode
from services.runtime.http import header, receive_body

# text/plain is what navigator.sendBeacon sends for a string.
_MEDIA_TYPES = frozenset({"", "application/json", "text/plain"})
_ENCODINGS = "gzip, deflate and zstd"
_ZSTD_MAX_WINDOW_BYTES = 8 * 1024 * 1024
# Each further gzip member costs a copy of what is left of the body. A block-wise gzip of 10 MiB has 160.
_MAX_MEMBERS = 200
_SEND_FEWER = "Send fewer events at once."


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The decompressed body, at most `max_bytes`. Raises ApiError 400, 413 or 415."""
    media_type = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Content-Type `{media_type[:100]}` is not taken. Send application/json."
        )
    body = await receive_body(request, max_bytes, _SEND_FEWER)
    encoding = (header(request, b"content-encoding") or "").strip().lower()
    if encoding in ("", "identity"):
        return body
    return inflate(body, encoding, max_bytes)


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress, but never more than `max_bytes` + 1 bytes. Raises ApiError."""
    try:
        if encoding in ("gzip", "x-gzip"):
            inflated = _inflate_zlib(body, 31, max_bytes)
        elif encoding == "deflate":
            inflated = _inflate_deflate(body, max_bytes)
        elif encoding == "zstd":
            inflated = _inflate_zstd(body, max_bytes)
        else:
            raise ApiError(
                ErrorCode.UNSUPPORTED_ENCODING,
                f"Content-Encoding `{encoding[:100]}` is not taken. Use one of {_ENCODINGS}, or none.",
            )
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise ApiError(ErrorCode.INVALID_ENCODING, f"The body is not valid {encoding}: {error}.") from error
    if len(inflated) > max_bytes:
        raise _too_large(max_bytes)
    return inflated


def _inflate_deflate(body: bytes, max_bytes: int) -> bytes:
    """RFC 9110 means the zlib format; some clients send raw deflate."""
    try:
        return _inflate_zlib(body, 15, max_bytes)
    except zlib.error:
        return _inflate_zlib(body, -15, max_bytes)


def _inflate_zlib(body: bytes, window_bits: int, max_bytes: int) -> bytes:
    inflated = b""
    for _ in range(_MAX_MEMBERS):
        if not body:
            return inflated
        stream = zlib.decompressobj(window_bits)
        inflated += stream.decompress(body, max_bytes + 1 - len(inflated))
        if len(inflated) > max_bytes:
            return inflated
        if not stream.eof:
            raise EOFError("it ends too early")
        body = stream.unused_data.lstrip(b"\0")  # a further gzip member, or padding
    if body:
        raise zlib.error(f"it has more than {_MAX_MEMBERS} members")
    return inflated


def _inflate_zstd(body: bytes, max_bytes: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW_BYTES)
    source = io.BytesIO(body)
    with decompressor.stream_reader(source, read_across_frames=True) as stream:
        inflated = stream.read(max_bytes + 1)
    if not inflated and body:
        raise EOFError("it ends too early")
    return inflated


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        ErrorCode.BODY_TOO_LARGE,
        f"The body is larger than {max_bytes} bytes (decompressed). {_SEND_FEWER}",
    )
