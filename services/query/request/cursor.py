"""Opaque positions in an ordered list: a key (time in microseconds, 128-bit id) bound to the query it belongs to."""

import base64
import binascii
import struct

from msgspec import Struct
from xxhash import xxh3_64_digest

from services.contract.api.errors import ApiError, ErrorCode

_KEY = struct.Struct(">q16s")
_CHECK_BYTES = 8


class Position(Struct, frozen=True):
    """The last item of a page."""

    time_us: int
    id: bytes


def write_cursor(position: Position, bound_to: bytes) -> str:
    """`bound_to` is whatever the position has a meaning for: project, window, filter, order."""
    key = _KEY.pack(position.time_us, position.id)
    return base64.urlsafe_b64encode(key + _check(key, bound_to)).rstrip(b"=").decode()


def read_cursor(cursor: str, bound_to: bytes) -> Position:
    """Raises ApiError for what was changed, and for a cursor of another query."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    key, check = raw[: _KEY.size], raw[_KEY.size :]
    if len(raw) == _KEY.size + _CHECK_BYTES and check == _check(key, bound_to):
        position = Position(*_KEY.unpack(key))
        # The last letter has bits to spare: only the spelling that was given out is taken.
        if write_cursor(position, bound_to) == cursor:
            return position
    raise ApiError(
        ErrorCode.INVALID_CURSOR,
        "`cursor` is not a `next_cursor` of this query: send it back unchanged, with the same window, filter and "
        "order, or leave it out to start from the beginning.",
        field="cursor",
    )


def _check(key: bytes, bound_to: bytes) -> bytes:
    return xxh3_64_digest(key + bound_to)
