"""Takes a JSON array or object apart by its quotes, brackets and commas alone. What stands between two commas may be any
text, so that a fault in one event does not cost the others. Reads in bounded steps and stops at a number of parts."""

import re
from collections.abc import Iterator

import msgspec
import numpy as np

_CHUNK_BYTES = 32 * 1024
_BLANKS = b" \t\r\n"
_QUOTE, _COMMA, _COLON = b'",:'
_ESCAPED = b'"\\'  # behind a backslash they are no quote, and no backslash of their own
_TO_CLOSING = 2  # from a bracket's character to the one that closes it
_STRUCTURE = {border: np.isin(np.arange(256), [*b'"{}[]', border]) for border in (_COMMA, _COLON)}
_STEPS = np.zeros(256, np.int8)  # what a character does to the depth
_STEPS[list(b"{[")] = 1
_STEPS[list(b"}]")] = -1
_NAME = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*+")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_END_OF_NAME = re.compile(rb'"[ \t\r\n]*:')
_COLONS = 100  # of values that are no JSON, such as times without quotes

_decode_name = msgspec.json.Decoder(str).decode


class UnbalancedError(Exception):
    """Quotes and brackets do not say where the array or object ends, or something follows it."""


class TooManyPartsError(Exception):
    """There are more parts than were asked for; the rest was not read."""


def split_items(text: bytes, limit: int, border: int = _COMMA) -> list[bytes]:
    """The parts of an array or object, without the blanks around them. Raises UnbalancedError, TooManyPartsError."""
    text = text.strip(_BLANKS)
    if not text.startswith((b"[", b"{")):
        raise UnbalancedError
    parts: list[bytes] = []
    begin = 1
    for borders in _borders(text, border):
        for end in borders:
            parts.append(text[begin:end].strip(_BLANKS))
            begin = end + 1
        if len(parts) > limit:
            raise TooManyPartsError
    if begin != len(text) or text[-1] != text[0] + _TO_CLOSING:
        raise UnbalancedError
    return [] if parts == [b""] else parts


def split_members(text: bytes, limit: int, *, nothing_lost: bool = False) -> dict[str, bytes]:
    """The members of an object; of a name that stands twice the last counts, as for the decoder. Parts that are no
    member are left out. `nothing_lost`: where a part may hold a member without its comma, colon or quotes,
    UnbalancedError. Raises as `split_items`."""
    members = {}
    for part in split_items(text, limit):
        found = _NAME.match(part)
        if nothing_lost and (_holds_member(part[found.end() :]) if found else _is_broken_member(part)):
            raise UnbalancedError
        if found:
            try:
                members[_decode_name(found[1])] = part[found.end() :]
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    return members


def _is_broken_member(part: bytes) -> bool:
    """Whether what is no member was meant to be one, rather than the rest of a value that is no JSON."""
    return b":" in part or part.startswith(b'"')


def _holds_member(value: bytes) -> bool:
    """Whether a name stands in what should be one value, since no comma stands before it."""
    if not _END_OF_NAME.search(value):
        return False
    try:
        parts = split_items(b"[%b]" % value, _COLONS, _COLON)
    except TooManyPartsError:
        return True
    return any(part.endswith(b'"') for part in parts[:-1])


def _borders(text: bytes, border: int) -> Iterator[list[int]]:
    """Where the commas of the outermost array or object are and then its end, piece by piece. Raises UnbalancedError.
    `border`: what is looked for, where it is no comma."""
    depth = 0
    in_string = escaped = False
    for at in range(0, len(text), _CHUNK_BYTES):
        chunk = text[at : at + _CHUNK_BYTES]
        if b"\\" in chunk or escaped:
            # What is escaped is no quote; the length stays.
            chunk = b"\0" + chunk[1:] if escaped and chunk[0] in _ESCAPED else chunk
            chunk = chunk.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0")
            escaped = chunk.endswith(b"\\")
        chars = np.frombuffer(chunk, np.uint8)
        places = np.flatnonzero(_STRUCTURE[border][chars])
        marks = chars[places]
        outside = ((np.cumsum(marks == _QUOTE) + in_string) & 1) == 0
        depths = depth + np.cumsum(_STEPS[marks] * outside, dtype=np.int32)
        is_border = outside & ((depths <= 0) | ((marks == border) & (depths == 1)))
        borders, after = (places[is_border] + at).tolist(), depths[is_border]
        if len(after) and after.min() <= 0:
            yield borders[: int((after <= 0).argmax()) + 1]
            return
        yield borders
        if len(places):
            depth, in_string = int(depths[-1]), not outside[-1]
    raise UnbalancedError
