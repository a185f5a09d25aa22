"""Opaque positions in an ordered list: a key (times in microseconds, 128-bit id) bound to the query it belongs to."""

import base64
import binascii
import struct

from msgspec import Struct
from xxhash import xxh3_64_digest

from services.contract.api.errors import ApiError, ErrorCode

_KEY, _KEY_WITH_RECEIPT = struct.Struct(">q16s"), struct.Struct(">q16sq")
_CHECK_BYTES = 8


class Position(Struct, frozen=True):
    """The last item of a page. `received_us`: of lists where it decides between equal times, before the id."""

    time_us: int
    id: bytes
    received_us: int | None = None

    def key(self) -> bytes:
        if self.received_us is None:
            return _KEY.pack(self.time_us, self.id)
        return _KEY_WITH_RECEIPT.pack(self.time_us, self.id, self.received_us)


def binding(*parts: object) -> bytes:
    """What a cursor is bound to, as bytes that a version and the one before write alike: in a rolling upgrade a page may
    come from the one, and the next from the other. 0.1.0 called a time window by another name, and its rules had no words."""
    return repr(parts).replace("=TimeWindow(", "=Window(").replace(", words=()", "").encode()


def write_cursor(position: Position, bound_to: bytes) -> str:
    """`bound_to` is whatever the position has a meaning for: project, window, filter, order."""
    key = position.key()
    return base64.urlsafe_b64encode(key + _check(key, bound_to)).rstrip(b"=").decode()


def read_cursor(cursor: str, bound_to: bytes) -> Position:
    """Raises ApiError for what was changed, and for a cursor of another query."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    key, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    kind = {_KEY.size: _KEY, _KEY_WITH_RECEIPT.size: _KEY_WITH_RECEIPT}.get(len(key))
    if kind is not None and check == _check(key, bound_to):
        position = Position(*kind.unpack(key))
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
