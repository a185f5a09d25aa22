"""A name that stands twice in a JSON object: the first counts, everywhere.

ClickHouse reads the first, and so do filters, breakdowns and measures. Most parsers of clients keep the last. So what is
answered has each name once.
"""

import json
from typing import Any

import msgspec
from msgspec import Raw

_decode = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def first_of_each_name(text: bytes) -> bytes:
    """JSON text as it is, or written again without the members whose names stood before."""
    try:
        if _has_all_names(text) or not _repeats(text):
            return text
    except (ValueError, RecursionError):
        return text  # no JSON that a reader could take: nothing is found in it either
    return _written_again(text)


def readable_object(text: bytes) -> bytes:
    """As `first_of_each_name`; of what is no object that a reader could take, an empty one. Another producer than the edge
    wrote it, and with it the whole answer would be no JSON."""
    if not text.startswith(b"{"):
        return b"{}"
    try:
        return text if _has_all_names(text) or not _repeats(text) else _written_again(text)
    except (ValueError, RecursionError):
        return b"{}"


def first_members(text: bytes | Raw) -> dict[str, Raw]:
    """The members of a JSON object, as they are written. Raises what the decoder raises."""
    text = bytes(text)
    members = _decode_members(text)  # which keeps the last of each name
    if len(_encode(members)) == len(text):
        return members  # nothing was left out, not even a blank: as most SDKs write
    once = first_of_each_name(text)
    return members if once is text else _decode_members(once)


def _written_again(text: bytes) -> bytes:
    return _encode(json.loads(text, object_pairs_hook=_first, parse_int=_number, parse_float=_number))


def _has_all_names(text: bytes) -> bool:
    """Whether a reader, which keeps one of each name, finds all: then none stands twice. Written again there are as many colons
    then; those within strings stay. It takes a fifth of the time of `_repeats`, and is no answer where a colon may be escaped.
    """
    try:
        again = _encode(_decode(text))
    except msgspec.DecodeError:
        return False
    return again == text or (again.count(b":") == text.count(b":") and b"\\u003" not in text)


def _repeats(text: bytes) -> bool:
    try:
        json.loads(text, object_pairs_hook=_each_once, parse_constant=_refuse, parse_int=str)  # of any length
    except _RepeatedError:
        return True
    return False


class _RepeatedError(Exception):
    pass


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({name for name, _ in pairs}) < len(pairs):
        raise _RepeatedError


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        members.setdefault(name, value)
    return members


def _number(text: str) -> Raw:
    return Raw(text.encode())  # as it was written
