"""What HTTP needs of a family of SDKs: its calls, its translation, its answers."""

import re
from abc import ABC, abstractmethod
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.edge.intake.timestamps import EARLIEST, read_time
from services.edge.protocols.taken import Taken, encode

# Of a header that becomes a property of all events of its request.
MAX_HEADER_CHARS = 1000


class Options(Struct, frozen=True):
    """What an operator can set. `request_properties`: whether events get the IP and User-Agent of their request."""

    group_type: str = "group"
    request_properties: bool = False


class Incoming(Struct):
    """A request. `path` has no slash at its end. `data` is the body, decompressed. `key`: the project key that its headers
    or its address have."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    address: str = ""
    base_url: str = ""
    request_id: str = ""
    data: bytes = b""
    key: str | None = None


class Parsed(Struct):
    """A body as its family has read it. `key`: the project key in it. `text`: the JSON in it."""

    messages: Any
    envelope: Any
    key: str | None
    text: bytes


class Answer(Struct):
    status: int
    body: bytes
    media_type: str = "application/json"


class Family(ABC):
    """A surface. All methods are pure."""

    name: str

    def __init__(self, options: Options) -> None:
        self.options = options

    def is_its(self, incoming: Incoming) -> bool:
        """Of families that share an address: whether this request is of this one."""
        return True

    def key_in_headers(self, incoming: Incoming) -> str | None:
        """The key that headers have. Raises ApiError."""
        return None

    def key_in_query(self, incoming: Incoming) -> str | None:
        return None

    @abstractmethod
    def parse(self, incoming: Incoming) -> Parsed:
        """Reads the body. Raises ApiError."""

    @abstractmethod
    def take(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> None:
        """Translates what was read. Raises ApiError where nothing can be taken."""

    @abstractmethod
    def answer(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        """To a request of which something was taken, or that had nothing in it."""

    def nothing_valid(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        """To a request that had messages, and none that could be taken."""
        return self.refuse(incoming, none_valid(taken))

    def refuse(self, incoming: Incoming, error: ApiError) -> Answer:
        """Our error as this family's SDKs have to read it."""
        body = {"error": error.detail(), "request_id": incoming.request_id}
        return Answer(error.code.status, encode(body))

    def page(self, incoming: Incoming) -> Answer | None:
        """The answer to a request that takes nothing in: what an SDK asks for when it starts. None: it is no such call."""
        return None

    def request_members(self, incoming: Incoming) -> list[bytes]:
        """`$ip` and `$user_agent` as members of properties, where they are asked for."""
        if not self.options.request_properties:
            return []
        found = {"$ip": incoming.address, "$user_agent": incoming.headers.get("user-agent", "")}
        return [encode(name) + b":" + encode(value[:MAX_HEADER_CHARS]) for name, value in found.items() if value]


def none_valid(taken: Taken) -> ApiError:
    """Of a request of which nothing was taken."""
    first = taken.rejected[0]
    others = len(taken.rejected) - 1
    more = f" (and {others} more: no message of the request is valid)" if others else ""
    code = first.error.code if first.error.code.status == 400 else ErrorCode.INVALID_FIELD
    return ApiError(code, first.error.message + more, field=first.error.field, index=first.index)


def text_of_id(value: Any) -> str | None:
    """An id as SDKs write it: numbers become text; null, "" and what is neither text nor number are none."""
    if value is None or value.__class__ is str:
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


_NUMBER = re.compile(rb"-?[0-9]{9,19}(?:\.[0-9]+)?")
# PostHog's SDK for PHP, and older ones of Segment and RudderStack, write `microtime` so: no point before the fraction.
_WITHOUT_POINT = re.compile(rb'("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})([0-9]+[+-][0-9]{2}:[0-9]{2}")')


def time_of(value: Raw) -> datetime | None:
    """A time as SDKs write it: also a number as text, and "" is none. Raises ApiError."""
    text = bytes(value)
    if text[:1] == b'"':
        inner = text[1:-1].strip()
        if not inner:
            return None
        if _NUMBER.fullmatch(inner):
            value = Raw(inner)
    try:
        return read_time(value)
    except ApiError:
        found = _WITHOUT_POINT.fullmatch(text)
        if found is None:
            raise
        return read_time(Raw(b"%b.%b" % found.groups()))


def time_or_none(value: Raw) -> datetime | None:
    """As `time_of`; None where it is no time."""
    try:
        return time_of(value)
    except ApiError:
        return None


def basic_of(credentials: str) -> tuple[str, str]:
    """User and password of HTTP Basic, empty where it is none. Some leave the padding out."""
    try:
        text = credentials.strip().rstrip("=")
        user, _, password = b64decode(text + "=" * (-len(text) % 4), validate=True).decode().partition(":")
    except (Base64Error, ValueError):
        return "", ""
    return user, password


def json_answer(body: Any, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(body))


# How far a clock may be ahead before it is certainly wrong, and how far behind one that stamps each try.
_AHEAD = timedelta(seconds=5)
_BEHIND = timedelta(seconds=-60)


def is_right(sent: datetime, now: datetime) -> bool:
    """Whether a client's clock shows what ours does, or may do so."""
    return _BEHIND <= sent - now <= _AHEAD


def corrected(time: datetime, sent: datetime | None, now: datetime, stamps_each_try: Callable[[], bool]) -> datetime:
    """The time of a client whose clock is wrong, as ours would have shown it; `time` itself where there is nothing wrong.

    `sent`: when the client says that it sent the request. In the future it is certainly wrong, and before 2000, as of a
    phone that has lost its time. Else in the past it may be an old one: most SDKs keep it when they send again, so it
    counts only for those that do not. An event that happened after it was sent has its time from another clock.
    """
    if sent is None:
        return time
    ahead = sent - now
    if _BEHIND <= ahead <= _AHEAD or (ahead < _BEHIND and sent >= EARLIEST and not stamps_each_try()):
        return time
    if ahead < _BEHIND and time - sent > _AHEAD:
        return time
    try:
        right = time - ahead
    except OverflowError:
        return time
    # Of a clock that is years ahead by now: what happened before it was wrong has a time of its own.
    return time if right < EARLIEST <= time else right
