"""Takes a JSON array or object apart by its quotes, brackets and commas alone. What stands between two commas may be any
text, so that a fault in one event does not cost the others. Reads in bounded steps and stops at a number of parts."""

import re
from collections.abc import Iterator

import msgspec
import numpy as np

_CHUNK_BYTES = 32 * 1024
_BLANKS = b" \t\r\n"
_QUOTE, _COMMA = b'",'
_ESCAPED = b'"\\'  # behind a backslash they are no quote, and no backslash of their own
_TO_CLOSING = 2  # from a bracket's character to the one that closes it
_STRUCTURE = np.zeros(256, np.bool_)
_STRUCTURE[list(b'"{}[],')] = True
_STEPS = np.zeros(256, np.int8)  # what a character does to the depth
_STEPS[list(b"{[")] = 1
_STEPS[list(b"}]")] = -1
_NAME = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*+")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)

_decode_name = msgspec.json.Decoder(str).decode


class UnbalancedError(Exception):
    """Quotes and brackets do not say where the array or object ends, or something follows it."""


class TooManyPartsError(Exception):
    """There are more parts than were asked for; the rest was not read."""


def split_items(text: bytes, limit: int) -> list[bytes]:
    """The parts of an array or object, without the blanks around them. Raises UnbalancedError, TooManyPartsError."""
    text = text.strip(_BLANKS)
    if not text.startswith((b"[", b"{")):
        raise UnbalancedError
    parts: list[bytes] = []
    begin = 1
    for borders in _borders(text):
        for end in borders:
            parts.append(text[begin:end].strip(_BLANKS))
            begin = end + 1
        if len(parts) > limit:
            raise TooManyPartsError
    if begin != len(text) or text[-1] != text[0] + _TO_CLOSING:
        raise UnbalancedError
    return [] if parts == [b""] else parts


def split_members(text: bytes, limit: int) -> dict[str, bytes]:
    """The members of an object; of a name that stands twice the last counts, as for the decoder. Parts that are no
    member are left out. Raises as `split_items`."""
    members = {}
    for part in split_items(text, limit):
        found = _NAME.match(part)
        if found:
            try:
                members[_decode_name(found[1])] = part[found.end() :]
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    return members


def _borders(text: bytes) -> Iterator[list[int]]:
    """Where the commas of the outermost array or object are and then its end, piece by piece. Raises UnbalancedError."""
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
        places = np.flatnonzero(_STRUCTURE[chars])
        marks = chars[places]
        outside = ((np.cumsum(marks == _QUOTE) + in_string) & 1) == 0
        depths = depth + np.cumsum(_STEPS[marks] * outside, dtype=np.int32)
        is_border = outside & ((depths <= 0) | ((marks == _COMMA) & (depths == 1)))
        borders, after = (places[is_border] + at).tolist(), depths[is_border]
        if len(after) and after.min() <= 0:
            yield borders[: int((after <= 0).argmax()) + 1]
            return
        yield borders
        if len(places):
            depth, in_string = int(depths[-1]), not outside[-1]
    raise UnbalancedError
