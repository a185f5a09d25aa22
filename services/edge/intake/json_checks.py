"""Checks on JSON text that the decoder leaves to us: encoding, one line, depth, numbers, objects where objects belong."""

import re
from collections.abc import Sequence
from math import isinf
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_NESTING_LEVELS

EMPTY_OBJECT = Raw(b"{}")
# One character is looked for as a number: as bytes it costs ten times as much in a short text.
NEWLINE, BACKSLASH = b"\n\\"
_QUOTE, _CURLY, _SQUARE, _E = b'"{[e'
_CURLY_FROM_SQUARE = _CURLY ^ _SQUARE  # the one bit in which they differ
_LOWER = 0x20  # the bit that makes a letter lower case
_OTHERS = bytes(set(range(256)) - set(b'"{}[]'))
_STEPS = np.zeros(256, np.int8)  # what a character does to the depth
_STEPS[list(b"{[")] = 1
_STEPS[list(b"}]")] = -1

# A number is beyond doubles only with an exponent of three digits, or with so many digits before its point.
_MANY_DIGITS = 200
# With a point or an exponent behind its digits a number may be small again.
_LONG_INTEGER = re.compile(rb"(?<![0-9.+eE-])-?[0-9]{309,}+(?![.eE])")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_LARGE_BYTES = 4 * 1024  # from so many on, numpy is faster
# Every so many characters one is looked at: a run of digits shows in a run of these.
_SAMPLED = 16
_RUN_OF_DIGITS = b"\1" * (_MANY_DIGITS // _SAMPLED)
_ZERO = np.uint8(ord("0"))
# What may stand in a number before its exponent, and before the number.
_IN_MANTISSA, _BEFORE_NUMBER = b"0123456789.-", b":,[ \t\r\n"
_MANTISSA_CHARS = 24  # a longer one is worth a closer look
_END = 0xFF  # behind what stands before an exponent; no byte of UTF-8
_BEFORE_EXPONENT = np.arange(1 - _MANTISSA_CHARS, 2)  # from a mantissa's last digit, to the `e` behind it
# Of these characters: mantissas become 0, what is before a number becomes a colon.
_KINDS = bytes(
    ord("0") if c in _IN_MANTISSA else ord(":") if c in _BEFORE_NUMBER else c if c == _END else ord("x")
    for c in range(256)
)
_BEGUN_NUMBER, _LONG_NUMBER = re.compile(rb":0+\xff"), b"0" * _MANTISSA_CHARS + b"\xff"
_MANY_EXPONENTS = 10_000  # so many take longer than a look at each event, which is done in a thread
_EXPONENT = re.compile(rb"[0-9][eE]\+?[0-9]{3}")
# Digits and + become 0, e and E become e.
_ALIKE = bytes.maketrans(b"0123456789+E", b"00000000000e")
_EXPONENT_LIKE = b"0e000"
_MANY_ZEROS = b"0" * _MANY_DIGITS


def one_line(body: bytes) -> bytes:
    """The body without raw newlines, because it becomes part of a line. Raises UnicodeDecodeError for what is no UTF-8,
    and what the decoder raises."""
    if not body.isascii():
        body.decode()
    return msgspec.json.format(body, indent=-1) if NEWLINE in body else body


def json_object(value: Raw, name: str) -> Raw:
    """`value` as it is when it is an object of legal depth and numbers, `{}` when it is absent or null; raises ApiError."""
    text = bytes(value)
    if text in (b"", b"null"):
        return EMPTY_OBJECT
    if text[0] != _CURLY:
        raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}`: expected an object.", field=name)
    if nesting_levels(text) > MAX_NESTING_LEVELS:
        raise too_deep(name)
    if may_hold_large_number(text):
        _refuse_large_numbers(text, name)
    return value


def too_deep(name: str) -> ApiError:
    return ApiError(
        ErrorCode.TOO_DEEP, f"`{name}` is nested deeper than {MAX_NESTING_LEVELS} levels. Flatten it.", field=name
    )


def all_objects(values: Sequence[bytes | Raw], joined: bytes) -> bool:
    """Whether each of the values is an object of legal depth. False also where only a closer look can tell.

    `joined`: the values with newlines between them. One look at all costs a tenth of one look at each.
    """
    if not joined.startswith(b"{") or joined.endswith(b"\n"):
        return False
    text = np.frombuffer(joined, np.uint8)
    # Brackets in strings are counted too: more than the depth, never less.
    is_bracket = text | _CURLY_FROM_SQUARE == _CURLY
    if np.count_nonzero(is_bracket) - len(values) < MAX_NESTING_LEVELS:
        return not ((text[:-1] == NEWLINE) & (text[1:] != _CURLY)).any()
    lengths = np.fromiter(map(len, values), np.intp, len(values)) + 1
    starts = np.cumsum(lengths) - lengths
    if (text[starts] != _CURLY).any():
        return False
    return int(np.add.reduceat(is_bracket.view(np.uint8), starts, dtype=np.uint32).max()) <= MAX_NESTING_LEVELS


def may_have_one_of(text: bytes, needles: Sequence[bytes]) -> bool:
    """Whether one of these may stand in the text: its first, middle and last characters do, at their distances. A fifth
    of the time of a search."""
    chars = np.frombuffer(text, np.uint8)
    return any(needle[-1] in text and _may_have(chars, needle) for needle in needles)


def _may_have(chars: "np.ndarray[Any, np.dtype[np.uint8]]", needle: bytes) -> bool:
    places = len(chars) - len(needle) + 1
    if places <= 0:
        return False
    found = chars[:places] == needle[0]
    for at in {len(needle) // 2, len(needle) - 1} - {0}:
        found &= chars[at : at + places] == needle[at]
    return bool(found.any())


def may_hold_large_number(text: bytes) -> bool:
    """Whether a number in JSON text may be beyond doubles. True also where only a closer look can tell."""
    return _may_hold_large(text) if len(text) < _LARGE_BYTES else _may_hold_large_in_many(text)


def nesting_levels(text: bytes) -> int:
    """How many objects and arrays are open at the deepest place of valid JSON."""
    if _SQUARE not in text and text.find(_CURLY, 1) < 0:
        return int(text[:1] == b"{")  # as most are
    brackets = text.count(b"{") + text.count(b"[")
    if brackets <= MAX_NESTING_LEVELS:
        return brackets  # an upper bound that is low enough
    # In arrays, because a large body may consist of brackets: what is in a string does not count.
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OTHERS)
    chars = np.frombuffer(plain, np.uint8)
    in_string = np.cumsum(chars == _QUOTE, dtype=np.uint8) & 1
    return int(np.cumsum(_STEPS[chars] * (1 - in_string), dtype=np.int32).max())


def _may_hold_large(text: bytes) -> bool:
    alike = text.translate(_ALIKE)
    if _EXPONENT_LIKE in alike and any(_may_begin_number(text, found.start()) for found in _EXPONENT.finditer(text)):
        return True
    return len(text) > _MANY_DIGITS and _MANY_ZEROS in alike


def _may_hold_large_in_many(joined: bytes) -> bool:
    text = np.frombuffer(joined, np.uint8)
    is_digit = text - _ZERO < 10
    if _RUN_OF_DIGITS in is_digit[::_SAMPLED].tobytes():
        return True
    # A digit before an e, and three behind it, perhaps after a plus. Two of the three are at the same place either way.
    may_be = text[1:-3] | _LOWER == _E
    may_be &= is_digit[:-4]
    may_be &= is_digit[3:-1]
    may_be &= is_digit[4:]
    places = np.flatnonzero(may_be)
    if len(places) > _MANY_EXPONENTS:
        return True
    # Most of them are in ids of hexadecimal digits: there a letter or a quote comes before anything that begins a number.
    before = text.take(places[:, None] + _BEFORE_EXPONENT, mode="clip")
    before[:, -1] = _END
    kinds = before.tobytes().translate(_KINDS)
    if _LONG_NUMBER not in kinds and _BEGUN_NUMBER.search(kinds) is None:
        return False
    return any(_may_begin_number(joined, at) and _EXPONENT.match(joined, at) for at in places.tolist())


def _may_begin_number(text: bytes, place: int) -> bool:
    """Whether the digit there, which an `e` follows, may end the first part of a number rather than stand in a string."""
    before = text[max(0, place - _MANTISSA_CHARS + 1) : place + 1].rstrip(_IN_MANTISSA)
    return not before or before[-1] in _BEFORE_NUMBER


def _refuse_large_numbers(text: bytes, name: str) -> None:
    """Raises ApiError for a number that no double holds; every reader after us would stumble over it."""
    try:
        msgspec.json.decode(text)  # converts all numbers, integers of any size
    except msgspec.ValidationError:
        numbers = _NUMBER.finditer(_STRING.sub(b'""', text))
    else:
        numbers = _LONG_INTEGER.finditer(_STRING.sub(b'""', text)) if _LONG_INTEGER.search(text) else iter(())
    for found in numbers:
        number = found[0]
        if isinf(float(number)):
            shown = number.decode() if len(number) <= 50 else f"{number[:40].decode()}... ({len(number)} digits)"
            raise ApiError(
                ErrorCode.INVALID_FIELD,
                f"`{name}`: the number {shown} is larger than any double (1.8e308). Send it as a string.",
                field=name,
            )


def refuse_nul(value: str | None, name: str) -> None:
    """Names and ids end up in URLs, files and C programs: NUL is refused there (in properties it is kept)."""
    if value is not None and "\0" in value:
        raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}` must not contain the character NUL.", field=name)
