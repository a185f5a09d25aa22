"""What broken or careless clients send for "nothing": no ids of anybody, no keys of anything."""

import unicodedata
import uuid

# Merging one of these would make one person of thousands.
_WORDS = "null undefined none nil anonymous guest unknown n/a nan true false 0 -1"
# All visitors of a page whose posthog-js keeps no cookies have the last of these.
_IDS = frozenset(
    [
        *_WORDS.split(),
        *("", "[object object]", "object object", "0" * 32, str(uuid.UUID(int=0))),
        "$posthog_cookieless",
    ]
)
# With one of these, all of a client's events but one would vanish behind 2xx.
_KEYS = frozenset(["undefined", "null", "none", "nil", "nan", "object object", ""])
# No such key begins with one of these (N and U are missing), whatever is around it: most keys need no closer look.
FIRST_OF_KEYS = frozenset("0123456789abcdefghijklmopqrstvwxyzABCDEFGHIJKLMOPQRSTVWXYZ")
_BRACKETS = "()[]{}<>"
_QUOTES_AND_BRACKETS = "\\\"'`´‘’‚“”„«»‹›" + _BRACKETS
# A longer id is none of these, whatever is around it; a nil UUID has 36 characters.
_LONGEST = 80


def is_placeholder_id(value: str) -> bool:
    """Whatever its case, and with quotes, brackets, blanks or invisible characters around it."""
    return _bare(value, _QUOTES_AND_BRACKETS) in _IDS


def is_placeholder_key(value: str) -> bool:
    """Whatever its case, and with brackets (`(null)`, `<nil>`), blanks or invisible characters around it."""
    return value[:1] not in FIRST_OF_KEYS and _bare(value, _BRACKETS) in _KEYS


def placeholder_warning(key: str, place: str = "") -> str:
    """`place`: of which event, or where the key stands."""
    return f"the idempotency key `{key[:50]}`{place} is a placeholder and counts as absent: send a key of its own"


def _bare(value: str, around: str) -> str:
    begin, end = 0, len(value)
    while begin < end and _is_around(value[begin], around):
        begin += 1
    while begin < end and _is_around(value[end - 1], around):
        end -= 1
    return value[begin:end].lower() if end - begin <= _LONGEST else value


def _is_around(char: str, around: str) -> bool:
    """Separators (blanks), controls, formats (zero width, direction, BOM), fillers that show nothing, and `around`."""
    return char in around or char in _FILLERS or unicodedata.category(char) in _INVISIBLE


_INVISIBLE = frozenset(["Zs", "Zl", "Zp", "Cc", "Cf"])
# Hangul and Khmer fillers, Braille's blank, and selectors of variants: letters and marks by category, but invisible.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u2800\u034f\u180b\u180c\u180d\u180f").union(
    map(chr, range(0xFE00, 0xFE10)), map(chr, range(0xE0100, 0xE01F0))
)
