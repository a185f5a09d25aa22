"""Reads one message of which something is not as it should be: what can be mended is, and what a message does not know is
skipped whatever it holds."""

import heapq

import msgspec
from msgspec import Raw, Struct

from services.contract.api.encoding import halves_replaced
from services.contract.api.errors import ApiError
from services.contract.api.ingest import MAX_NESTING_LEVELS
from services.contract.api.validation import invalid_json, invalid_message
from services.contract.placeholders import is_placeholder_key
from services.edge.intake.json_checks import nesting_levels, one_line, too_deep
from services.edge.intake.json_split import TooManyPartsError, UnbalancedError, split_members

# Of a message with more fields than this, one that the decoder refuses, the unknown ones are not told apart.
MAX_FIELDS = 1000
# Of the unknown fields of a message so many are named, or counted.
MAX_UNKNOWN = 20

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class Fields(Struct):
    """`known`: a JSON object of the known fields alone. `unknown`: the first names of others, in their order.
    `replaced`: half surrogate pairs became U+FFFD."""

    known: dict[str, Raw]
    unknown: list[str]
    replaced: bool

    def encode(self) -> bytes:
        return _encode(self.known)


def read_fields(text: bytes, names: frozenset[str], max_unknown: int, subject: str = "The body") -> Fields:
    """The fields of one message. `subject`: what the message is called in errors. Raises ApiError."""
    try:
        line, replaced = mended(text)
        fields = _decode_fields(line)
    except msgspec.ValidationError as error:
        raise invalid_message(error, subject=subject) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        members = _members(text)
        if members is None or names.issuperset(members):
            raise _refusal(error, members or {}, subject) from error
        return _without_unknown(members, names, max_unknown, subject)
    known = {name: value for name, value in fields.items() if name in names}
    unknown = heapq.nsmallest(max_unknown, fields.keys() - names) if len(known) < len(fields) else []
    return Fields(known, unknown, replaced)


def drop_placeholder_key(fields: Fields) -> str | None:
    """The idempotency key, where it is a placeholder: the fields are without it then."""
    try:
        key = msgspec.json.decode(fields.known.get("idempotency_key", b"null"), type=str | None)
    except msgspec.DecodeError:
        return None  # it is refused with all that is wrong
    if key is None or not is_placeholder_key(key):
        return None
    del fields.known["idempotency_key"]
    return key


def mended(text: bytes) -> tuple[bytes, bool]:
    """Valid UTF-8 on one line, with U+FFFD for each half of a surrogate pair, and whether there was one. Raises
    UnicodeDecodeError, and what the decoder raises."""
    whole = halves_replaced(text)
    return one_line(whole), whole != text


def _members(text: bytes) -> dict[str, bytes] | None:
    """None also where a known field may be lost between unknown ones."""
    try:
        return split_members(text, MAX_FIELDS, nothing_lost=True) if text.lstrip().startswith(b"{") else None
    except (UnbalancedError, TooManyPartsError):
        return None


def _without_unknown(members: dict[str, bytes], names: frozenset[str], max_unknown: int, subject: str) -> Fields:
    known = {name: value for name, value in members.items() if name in names}
    text = b"{" + b",".join([_encode(name) + b":" + value for name, value in known.items()]) + b"}"
    fields = read_fields(text, names, 0, subject)
    fields.unknown = heapq.nsmallest(max_unknown, members.keys() - names)
    return fields


def _refusal(error: Exception, members: dict[str, bytes], subject: str) -> ApiError:
    """Names the field where it is known which one is too deep."""
    if isinstance(error, RecursionError):
        for name, value in members.items():
            if nesting_levels(value) > MAX_NESTING_LEVELS:
                return too_deep(name)
    return invalid_json(error, subject)
