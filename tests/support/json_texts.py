"""Texts of events as clients may send them, most of them JSON and many of them odd; and how Python reads them."""

import json
from math import isinf
from typing import Any

from hypothesis import strategies as st

# Texts of JSON values.
_CHARS = [
    "a",
    "b",
    " ",
    "é",
    "😀",
    "\u2028",
    "\ufeff",
    "\x7f",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "1e400",
    "://",
    '\\"',
    "\\\\",
]
_CHARS += ["\\n", "\\/", "\\u0041", "\\u00e9", "\\u0000", "\\ud83d\\ude00", "\\ud83d", "\\uDE00", "\\uffff", "\\u005c"]
STRINGS = st.lists(st.sampled_from(_CHARS), max_size=5).map(lambda chars: f'"{"".join(chars)}"')
_ODD_NUMBERS = (  # noqa: SIM905, one a line would be a page
    "0 -0 0.0 -0.0 0e5 1e0 1E+2 1e-7 1e23 0.1 0.30000000000000004 100.00 9007199254740991 9007199254740992 "
    "9007199254740993 -9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775808 "
    "-9223372036854775809 18446744073709551615 18446744073709551616 18446744073709552000 1.8446744073709552e19 "
    "18446744073709551616.5 99999999999999999999 -99999999999999999999 100000000000000000000 1e20 1e308 1e309 1e400 "
    "-1e400 1e-400 1.7976931348623157e308 1.7976931348623159e308 5e-324 2e-324 0e400"
).split()
_EXPONENTS = st.integers(-350, 350).map(lambda e: f"e{e}") | st.integers(0, 320).map(lambda e: f"E+{e:03d}")
_DIGITS = st.integers(1, 320).flatmap(lambda n: st.sampled_from("123456789").map(lambda digit: digit * n))
NUMBERS = st.one_of(
    st.sampled_from(_ODD_NUMBERS),
    st.integers(-100, 100).map(str),
    st.integers(-(2**70), 2**70).map(str),
    _DIGITS,
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.tuples(st.integers(-99, 99), st.integers(0, 10**6), _EXPONENTS).map(lambda n: f"{n[0]}.{n[1]}{n[2]}"),
    st.tuples(_DIGITS, _EXPONENTS).map("".join),  # many digits may be few again
)
_QUOTED_NUMBERS = NUMBERS.map(lambda number: f'"{number}"')
_LITERALS = st.sampled_from(["null", "true", "false", "{}", "[]"])
# Few, so that a name often stands twice, and so does one that is spelled in another way.
NAMES = st.one_of(st.sampled_from(['"plan"', '"a"', '"b"', '"pl\\u0061n"', '"a.b"', '""', '"é"', '"\\u00e9"']), STRINGS)
_BLANKS = st.sampled_from(["", "", "", " ", "\t", "\r", "\n", " \n "])


def _array(items: list[str], blank: str) -> str:
    return f"[{blank}" + f"{blank},{blank}".join(items) + f"{blank}]"


def _object(members: list[tuple[str, str]], blank: str) -> str:
    return (
        f"{{{blank}"
        + f"{blank},{blank}".join(f"{name}{blank}:{blank}{value}" for name, value in members)
        + f"{blank}}}"
    )


def _objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(_object, st.lists(st.tuples(NAMES, values), max_size=4), _BLANKS)


VALUES: st.SearchStrategy[str] = st.recursive(
    st.one_of(STRINGS, NUMBERS, _QUOTED_NUMBERS, _LITERALS),
    lambda inner: st.builds(_array, st.lists(inner, max_size=4), _BLANKS) | _objects(inner),
    max_leaves=8,
)
_DEEP = st.integers(28, 36).flatmap(
    lambda levels: st.sampled_from([("[", "]"), ('{"a":', "}")]).map(
        lambda pair: '{"deep":' + pair[0] * levels + "1" + pair[1] * levels + "}"
    )
)
PROPERTIES = st.one_of(_objects(VALUES), _objects(VALUES), _objects(VALUES), _DEEP, st.just("null"))
_EXTRAS = st.sampled_from(
    ["", "", "", ',"else":1', ',"else":[NaN]', ',"event":"again"', ',"properties":{"plan":"last"}', ',"else":"\\ud83d"']
)


def _event(properties: str, extra: str, blank: str) -> bytes:
    text = f'{{{blank}"event":{blank}"fuzz","distinct_id":"u","properties":{blank}{properties}{extra}{blank}}}'
    return text.encode()


EVENTS = st.builds(_event, PROPERTIES, _EXTRAS, _BLANKS)

# Mutations: what may be put anywhere into a text, also into the middle of a character.
_PIECES: list[bytes] = [
    *[text.encode() for text in _ODD_NUMBERS],
    *[char.encode() for char in _CHARS],
    *[
        b"\xff",
        b"\xed\xa0\xbd",
        b"\xed\xb8\x80",
        b"\xef\xbb\xbf",
        b"\0",
        b"\x01",
        b"NaN",
        b"-Infinity",
        b"'",
        b"//",
        b"\\",
    ],
    *[b'"plan":1,', b'"plan":"x",', b',"a":2', b"[" * 40, b"]" * 40, b"[" * 2000 + b"]" * 2000, b'"', b"}", b"{", b","],
]
_MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), st.sampled_from([b"", *_PIECES])), min_size=1, max_size=3
)


def _mutated(text: bytes, mutations: list[tuple[float, int, bytes]]) -> bytes:
    """At each place so many bytes are replaced by a piece."""
    for place, width, piece in mutations:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + width :]
    return text


def _variants(text: bytes, each: list[list[tuple[float, int, bytes]]]) -> list[bytes]:
    return [_mutated(text, mutations) for mutations in each]


# Of each event so many, because an event takes longer to draw than what is done to it.
VARIANTS = 5
MUTATED = st.builds(_variants, EVENTS, st.lists(_MUTATIONS, min_size=VARIANTS, max_size=VARIANTS))


class UnreadableError(Exception):
    """Python does not take the text for JSON, or not for what every reader can hold."""


def read_event(text: bytes) -> dict[str, Any]:
    """As Python reads it: of an event's own fields the last counts, inside its properties the first of each name; half
    surrogate pairs are U+FFFD."""
    try:
        utf_16 = text.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
        pairs = json.loads(utf_16.decode("utf-16-le", "replace"), object_pairs_hook=_Pairs, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UnreadableError from error
    if not isinstance(pairs, _Pairs):
        raise UnreadableError
    return {_whole(name): _value(value) for name, value in pairs}


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, in order."""


def _value(value: Any) -> Any:
    if isinstance(value, _Pairs):
        members: dict[str, Any] = {}
        for name, inner in value:
            members.setdefault(_whole(name), _value(inner))
        return members
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, int | float) and _is_too_large(value):
        raise UnreadableError
    return _whole(value) if isinstance(value, str) else value


def _is_too_large(number: float) -> bool:
    try:
        return isinf(float(number))
    except OverflowError:
        return True


def _whole(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def levels(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


def same(value: Any, other: Any) -> bool:
    """Equality with types apart: integers by their digits, other numbers as doubles."""
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(same(value[name], other[name]) for name in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(same, value, other))
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, float) and isinstance(other, int):
        return value == float(other)
    if isinstance(value, int) and isinstance(other, float):
        return float(value) == other
    if isinstance(value, int | float) and isinstance(other, int | float):
        return value == other
    return type(value) is type(other) and bool(value == other)


def is_ambiguous(value: Any, other: Any) -> bool:
    """Whether it is an integer and a double that are equal as doubles: above 2^53, more than one integer is."""
    numbers = [x for x in (value, other) if isinstance(x, int | float) and not isinstance(x, bool)]
    return len(numbers) == 2 and type(value) is not type(other) and abs(numbers[0]) >= 2**53 and same(value, other)
