"""Reads the messages of an SDK's body: all at once where nothing is wrong, else one by one, so that a bad one costs itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from services.contract.api.encoding import plain_text
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.validation import invalid_json, invalid_message
from services.edge.intake.json_split import TooManyPartsError, UnbalancedError, split_items, split_members
from services.edge.intake.lenient import MAX_FIELDS, MAX_UNKNOWN, mended, read_fields

# Far more than any SDK sends at once; a batch has as many messages as its vendor's API takes, and is never refused for less.
MAX_MESSAGES = 5000
# As for native batches: a body with fewer objects, or fewer bytes, holds so few messages that decoding them first is cheap.
_COUNT_FROM_BYTES = 512 * 1024
_COUNT_FROM_OBJECTS = 16_000

T = TypeVar("T", bound=Struct)
FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Payload:
    """The text of one message, found when a dead letter needs it."""

    __slots__ = ("_texts", "index")

    def __init__(self, texts: Callable[[], Sequence[bytes]], index: int) -> None:
        self._texts = texts
        self.index = index

    @property
    def text(self) -> bytes:
        texts = self._texts()
        return texts[self.index] if self.index < len(texts) else b""


class Messages(Generic[T]):
    """`items`: a message each, or what is wrong with it. `unknown`: names of fields that no message has."""

    def __init__(self, items: Sequence[T | ApiError], texts: Callable[[], Sequence[bytes]], unknown: set[str]) -> None:
        self.items = items
        self.unknown = unknown
        self._find_texts = texts
        self._texts: Sequence[bytes] | None = None

    def payload(self, index: int) -> Payload:
        return Payload(self._all_texts, index)

    def _all_texts(self) -> Sequence[bytes]:
        if self._texts is None:
            self._texts = self._find_texts()
        return self._texts


def text_of(body: bytes) -> tuple[bytes, bool]:
    """The body as JSON text, and whether its messages may be decoded all at once. Then it is UTF-8 on one line, mended as
    native calls mend it: the decoder looks at no text that it passes on. Raises ApiError for what is no text."""
    text, is_mended = _mended(plain_text(body))
    return text, is_mended and not _may_hold_many(text)


def _mended(text: bytes) -> tuple[bytes, bool]:
    """False: it could not be, and has to be looked at message by message."""
    if text.isascii() and b"\n" not in text and b"\\" not in text:
        return text, True  # there is nothing to mend
    try:
        return mended(text)[0], True
    except FAULTS:
        return text, False


def _may_hold_many(text: bytes) -> bool:
    """Whether its messages have to be counted before they are decoded."""
    return len(text) > _COUNT_FROM_BYTES and text.count(b"{") > _COUNT_FROM_OBJECTS


def list_messages(items: Sequence[T], text: bytes, field: str) -> Messages[T]:
    """Messages that were decoded with their body."""
    if len(items) > MAX_MESSAGES:
        raise _too_many()
    return Messages(items, lambda: _items(text if not field else members_of(text).get(field, b"[]")), set())


def read_list(text: bytes, kind: type[T]) -> Messages[T]:
    """A JSON array, message by message. Raises ApiError."""
    return _read(_items(text), kind)


def read_lines(body: bytes, kind: type[T]) -> tuple[Messages[T], bytes]:
    """NDJSON, where each line is a message and a bad one costs itself; and its text. Raises ApiError."""
    lines = [_mended(line)[0] for line in map(bytes.strip, plain_text(body).split(b"\n")) if line]
    if len(lines) > MAX_MESSAGES:
        raise _too_many()
    return _read(lines, kind), b"\n".join(lines)


def read_one(text: bytes, kind: type[T]) -> Messages[T]:
    """A body that is one message."""
    return _read([text], kind)


def _read(texts: Sequence[bytes], kind: type[T]) -> Messages[T]:
    names = frozenset(_encoded_names(kind))
    unknown: set[str] = set()
    items: list[T | ApiError] = []
    for text in texts:
        try:
            fields = read_fields(text, names, MAX_UNKNOWN, "The message")
            items.append(msgspec.json.decode(fields.encode(), type=kind))
            unknown.update(fields.unknown)
        except msgspec.ValidationError as error:
            items.append(invalid_message(error, subject="The message"))
        except ApiError as error:
            items.append(error)
    return Messages(items, lambda: texts, unknown)


def _encoded_names(kind: type[Struct]) -> Iterator[str]:
    return iter(kind.__struct_encode_fields__)


def refuse_other_keys(messages: Messages[Any], key_of: Callable[[Any], str | None]) -> str | None:
    """The project key of the first message that has one, where only messages have it. Those that have another one are
    refused: they are another project's."""
    key: str | None = None
    items = list(messages.items)
    for index, message in enumerate(items):
        try:
            own = None if isinstance(message, ApiError) else key_of(message)
        except FAULTS as error:
            items[index] = invalid_json(error, "The message")
            continue
        key = key or own
        if own and own != key:
            items[index] = ApiError(
                ErrorCode.INVALID_FIELD, "The messages of a request must have one key. This one has another."
            )
    messages.items = items
    return key


def members_of(text: bytes) -> dict[str, bytes]:
    """The fields of a body. Raises ApiError."""
    if not text.lstrip().startswith(b"{"):
        raise _not_json(text, "an object")
    try:
        return split_members(text, MAX_FIELDS)
    except UnbalancedError as error:
        raise _not_json(text, "an object") from error
    except TooManyPartsError as error:
        raise ApiError(ErrorCode.INVALID_FIELD, f"The body has more than {MAX_FIELDS} fields.") from error


def read_envelope(members: dict[str, bytes], kind: type[T]) -> T:
    """The fields of a body beside its messages; what cannot be read counts as absent."""
    read: dict[str, Any] = {}
    for name, field in zip(kind.__struct_encode_fields__, msgspec.structs.fields(kind), strict=True):
        if name in members:
            try:
                read[field.name] = msgspec.json.decode(mended(members[name])[0], type=field.type)
            except FAULTS:
                continue
    return kind(**read)


def _items(text: bytes) -> list[bytes]:
    if not text.lstrip().startswith(b"["):
        raise _not_json(text, "an array of messages")
    try:
        return split_items(text, MAX_MESSAGES)
    except UnbalancedError as error:
        raise _not_json(text, "an array of messages") from error
    except TooManyPartsError as error:
        raise _too_many() from error


def _too_many() -> ApiError:
    message = f"There are more than {MAX_MESSAGES} messages in the body. Nothing was taken: split it."
    return ApiError(ErrorCode.BATCH_TOO_LARGE, message)


def _not_json(text: bytes, wanted: str) -> ApiError:
    try:
        text.decode()
        msgspec.json.decode(text, type=msgspec.Raw)  # a number that no double holds is a fault of its message alone
    except FAULTS as error:
        return invalid_json(error)
    return ApiError(ErrorCode.INVALID_JSON, f"Expected {wanted} in the body.")
