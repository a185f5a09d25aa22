"""A name that stands twice in a JSON object: the first counts, everywhere.

ClickHouse reads the first, and so do filters, breakdowns and measures. Most parsers of clients keep the last. So what is
answered has each name once.
"""

import json
from typing import Any

import msgspec
from msgspec import Raw

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_APART = (b" :", b"\t:", b"\r:", b"\n:")


def first_of_each_name(text: bytes) -> bytes:
    """JSON text as it is, or written again without the members whose names stood before."""
    try:
        if _is_plain(text) or not _repeats(text):
            return text
    except (msgspec.DecodeError, ValueError, RecursionError):
        return text  # no JSON that a reader could take: nothing is found in it either
    return _encode(json.loads(text, object_pairs_hook=_first, parse_int=_number, parse_float=_number))


def _is_plain(text: bytes) -> bool:
    """Whether it is an object with as many names as colons behind a quote: then none stands twice, on any level."""
    if not text.startswith(b"{"):
        return b"{" not in text
    names = text.count(b'":')
    return len(_decode_fields(text)) == names and not any(blank in text for blank in _APART)


def _repeats(text: bytes) -> bool:
    try:
        json.loads(text, object_pairs_hook=_each_once)
    except _RepeatedError:
        return True
    return False


class _RepeatedError(Exception):
    pass


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({name for name, _ in pairs}) < len(pairs):
        raise _RepeatedError


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        members.setdefault(name, value)
    return members


def _number(text: str) -> Raw:
    return Raw(text.encode())  # as it was written
