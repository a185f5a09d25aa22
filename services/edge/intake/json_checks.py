"""Checks on JSON text that the decoder leaves to us: encoding, one line, depth, objects where objects belong."""

from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Raw

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_NESTING_LEVELS
from services.contract.api.validation import invalid_json

EMPTY_OBJECT = Raw(b"{}")
_NEWLINE, _QUOTE, _CURLY, _SQUARE = b'\n"{['
_CURLY_FROM_SQUARE = _CURLY ^ _SQUARE  # the one bit in which they differ
_OTHERS = bytes(set(range(256)) - set(b'"{}[]'))
_STEPS = np.zeros(256, np.int8)  # what a character does to the depth
_STEPS[list(b"{[")] = 1
_STEPS[list(b"}]")] = -1


def one_line(body: bytes) -> bytes:
    """The body without raw newlines, because it becomes part of a line. Raises ApiError for what is not UTF-8."""
    try:
        if not body.isascii():
            body.decode()
        if b"\n" in body:
            return msgspec.json.format(body, indent=-1)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise invalid_json(error) from error
    return body


def json_object(value: Raw, name: str) -> Raw:
    """`value` as it is when it is an object of legal depth, `{}` when it is absent or null; raises ApiError."""
    text = bytes(value)
    if text in (b"", b"null"):
        return EMPTY_OBJECT
    if not text.startswith(b"{"):
        raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}`: expected an object.", field=name)
    if nesting_levels(text) > MAX_NESTING_LEVELS:
        raise ApiError(
            ErrorCode.TOO_DEEP, f"`{name}` is nested deeper than {MAX_NESTING_LEVELS} levels. Flatten it.", field=name
        )
    return value


def all_objects(values: Sequence[Raw]) -> bool:
    """Whether `json_object` would take every value as it is. False also where only a closer look can tell.

    All in one text: one look at all costs a tenth of one look at each.
    """
    joined = b"\n".join(values)
    if not joined.startswith(b"{") or joined.endswith(b"\n"):
        return False
    text = np.frombuffer(joined, np.uint8)
    starts = np.flatnonzero(text == _NEWLINE) + 1
    if not (text[starts] == _CURLY).all():
        return False
    # Brackets in strings are counted too: more than the depth, never less.
    is_bracket = text | _CURLY_FROM_SQUARE == _CURLY
    if np.count_nonzero(is_bracket) - len(values) < MAX_NESTING_LEVELS:
        return True
    opened = np.flatnonzero(is_bracket)
    counts = np.diff(np.searchsorted(opened, starts), prepend=0, append=len(opened))
    return bool((counts <= MAX_NESTING_LEVELS).all())


def nesting_levels(text: bytes) -> int:
    """How many objects and arrays are open at the deepest place of valid JSON."""
    brackets = text.count(b"{") + text.count(b"[")
    if brackets <= MAX_NESTING_LEVELS:
        return brackets  # an upper bound that is low enough
    # In arrays, because a large body may consist of brackets: what is in a string does not count.
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OTHERS)
    chars = np.frombuffer(plain, np.uint8)
    in_string = np.cumsum(chars == _QUOTE, dtype=np.uint8) & 1
    return int(np.cumsum(_STEPS[chars] * (1 - in_string), dtype=np.int32).max())


def refuse_nul(value: str | None, name: str) -> None:
    """Names and ids end up in URLs, files and C programs: NUL is refused there (in properties it is kept)."""
    if value is not None and "\0" in value:
        raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}` must not contain the character NUL.", field=name)
