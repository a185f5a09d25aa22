"""Segment, RudderStack, Jitsu: track, page, screen, identify, alias, group, alone or in batches."""

from collections.abc import Collection, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import (
    MAX_EVENT_BYTES,
    MAX_EVENT_NAME_CHARS,
    MAX_ID_CHARS,
    MAX_IDEMPOTENCY_KEY_CHARS,
)
from services.contract.placeholders import FIRST_OF_KEYS
from services.contract.repeated_names import first_members
from services.edge.intake.json_checks import all_objects, may_have_one_of
from services.edge.intake.timestamps import read_plain_times
from services.edge.protocols.family import (
    Answer,
    Family,
    Incoming,
    Parsed,
    basic_of,
    corrected,
    is_right,
    json_answer,
    text_of_id,
    time_of,
    time_or_none,
)
from services.edge.protocols.messages import (
    FAULTS,
    Messages,
    Payload,
    list_messages,
    members_of,
    read_envelope,
    read_list,
    read_one,
    refuse_other_keys,
    text_of,
)
from services.edge.protocols.segment_pages import rudder_config, segment_settings
from services.edge.protocols.taken import PlainEvents, Taken, encode, merged, with_members

_Id = str | int | float | None
_SHORT = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
_BATCHES = frozenset(["batch", "b", "import"])
# Those for phones, version 1.
_PHONES_OF_RUDDERSTACK = ("com.rudderstack.android.sdk.core", "rudder-ios-library")
# They stamp each try with its time. Others keep the time of the first try, and then it says nothing of their clock.
_STAMP_EACH_TRY = frozenset(
    [
        *_PHONES_OF_RUDDERSTACK,
        "analytics-python",
        "analytics.js",
        "@segment/analytics-node",
        "analytics-ruby",
        "analytics-android",
        "analytics-ios",
        "analytics-react-native",
        "@segment/analytics-react-native",
        "analytics-flutter",  # in local time that says no zone: behind UTC it is a clock that is behind
        "RudderLabs JavaScript SDK",
        "com.rudderstack.sdk.kotlin.android",
        "rudder-sdk-swift",
    ]
)
# They send again each second what gets no 200, and nothing that came after it.
_KEEP_ALL_BUT_200 = tuple(f'"{name}"'.encode() for name in _PHONES_OF_RUDDERSTACK)
# What they send as a matter of course and what holds nothing: {} and true are what an SDK says when nobody chose.
_NOTHING = frozenset([b"", b"null", b"{}", b"[]", b'{"All":true}', b'{"All": true}'])


# With fewer messages a look at all costs more than it saves.
_PLAIN_FROM = 10
# Where none of these stands in a body, its events are only put together: personal data, groups, names like ours.
_NOT_PLAIN = (b'traits"', b'groupId"', b'"$')
_CURLY, _BLANKS = ord("{"), b" \t\r\n"
_first_char = itemgetter(0)

_ABSENT = Raw()


# Known fields that mean nothing here are listed, so that a message with them is read in one pass.
class _Message(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    type: str | None = None
    message_id: _Id = None
    user_id: _Id = None
    anonymous_id: _Id = None
    previous_id: _Id = None
    group_id: _Id = None
    event: _Id = None
    name: _Id = None
    category: _Id = None
    properties: Raw = _ABSENT
    context: Raw = _ABSENT
    traits: Raw = _ABSENT
    timestamp: Raw = _ABSENT
    original_timestamp: Raw = _ABSENT
    sent_at: Raw = _ABSENT
    integrations: Raw = _ABSENT
    metadata: Raw = field(default=_ABSENT, name="_metadata")
    channel: Raw = _ABSENT
    write_key: str | None = None
    received_at: Raw = _ABSENT
    version: Raw = _ABSENT
    project_id: Raw = _ABSENT
    action: Raw = _ABSENT
    request_id: Raw = _ABSENT
    user_properties: Raw = _ABSENT
    options: Raw = _ABSENT
    rudder_id: Raw = _ABSENT
    # .NET's SDK (Analytics-CSharp) writes all that it has, as a rule null.
    metrics: Raw = _ABSENT
    enrichment: Raw = _ABSENT


class _Batch(Struct, rename="camel"):
    batch: list[_Message]
    sent_at: Raw = field(default_factory=Raw)
    write_key: str | None = None
    context: Raw = field(default_factory=Raw)


class _Envelope(Struct, rename="camel"):
    sent_at: Raw = field(default_factory=Raw)
    write_key: str | None = None
    context: Raw = field(default_factory=Raw)


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_any = msgspec.json.decode


class Segment(Family):
    """One surface for three families: their messages are the same, but for details."""

    name = "segment"

    # --- The project key ---

    def key_in_headers(self, incoming: Incoming) -> str | None:
        """Basic with the key as its user; or X-Write-Key, where Jitsu writes `id:secret`."""
        given = incoming.headers.get("authorization")
        if given is not None:
            kind, _, rest = given.strip().partition(" ")
            if kind.lower() == "basic":
                key, _ = basic_of(rest)
                if key:
                    return key
            elif kind.lower() == "bearer" and rest.strip():
                return rest.strip()
        write_key = incoming.headers.get("x-write-key", "").strip()
        return write_key.rpartition(":")[2] or None

    def key_in_query(self, incoming: Incoming) -> str | None:
        return incoming.query.get("writeKey") or incoming.query.get("writekey")

    # --- Translation ---

    def parse(self, incoming: Incoming) -> Parsed:
        text, at_once = text_of(incoming.data)
        if _call_of(incoming.path) not in _BATCHES:
            messages = read_one(text, _Message)
            return self._parsed(incoming, messages, _Envelope(), text)
        if at_once:
            try:
                body = _decode_batch(text)
            except FAULTS:
                pass
            else:
                return self._parsed(incoming, list_messages(body.batch, text, "batch"), body, text)
        members = members_of(text)
        if "batch" not in members:
            raise ApiError(ErrorCode.MISSING_FIELD, "`batch` is required.", field="batch")
        envelope, messages = read_envelope(members, _Envelope), read_list(members["batch"], _Message)
        return self._parsed(incoming, messages, envelope, text)

    def _parsed(self, incoming: Incoming, messages: Messages[_Message], envelope: Any, text: bytes) -> Parsed:
        key = incoming.key or envelope.write_key or refuse_other_keys(messages, _key_of)
        return Parsed(messages, envelope, key, text)

    def take(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> None:
        kind = _call_of(incoming.path)
        translation = _Translation(self, taken, parsed.envelope, self.request_members(incoming))
        own_kind = None if kind in _BATCHES or kind == "event" else _SHORT.get(kind, kind)
        done = translation.take_plain(parsed.messages.items, parsed.text) if own_kind is None else ()
        taken.each(parsed.messages, lambda message, payload: translation.add(message, own_kind, payload), done)
        taken.lost.update(translation.lost)

    # --- Answers ---

    def answer(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        return Answer(200, b'{"success":true}')

    def nothing_valid(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        if any(name in parsed.text for name in _KEEP_ALL_BUT_200):
            return self.answer(incoming, parsed, taken)
        return super().nothing_valid(incoming, parsed, taken)

    def refuse(self, incoming: Incoming, error: ApiError) -> Answer:
        """`code` and `message` stand at the top, too: without them some send a 4xx again for ever. RudderStack's for phones
        do so each second, until they read of an invalid write key."""
        detail = error.detail()
        if error.code.status in (401, 403):
            detail = msgspec.structs.replace(detail, message=f"Invalid write key: {error.message}")
        body = {
            "success": False,
            "code": detail.code,
            "message": detail.message,
            "error": detail,
            "request_id": incoming.request_id,
        }
        return Answer(error.code.status, encode(body))

    def page(self, incoming: Incoming) -> Answer | None:
        """What the browser SDKs ask for before they send anything."""
        if incoming.path == "/sourceConfig":
            return json_answer(rudder_config(self.key_in_headers(incoming) or self.key_in_query(incoming) or ""))
        if incoming.path.startswith("/v1/projects/"):
            return json_answer(segment_settings(incoming))
        return None


class _Translation:
    """Of one request."""

    def __init__(self, family: Segment, taken: Taken, envelope: Any, request_members: list[bytes]) -> None:
        self._taken = taken
        self._group_type = family.options.group_type
        self._request_members = request_members
        self._sent = time_or_none(envelope.sent_at)
        context = bytes(envelope.context)
        self._context = context if context[:1] == b"{" and context not in _NOTHING else b""
        self._integrations = self._metadata = self._channel = self._identity_context = self._unknown = 0

    @property
    def lost(self) -> dict[str, int]:
        counts = {
            "integrations": self._integrations,
            "metadata": self._metadata,
            "channel": self._channel,
            "identity_context": self._identity_context,
            "unknown_field": self._unknown,
        }
        return {kind: count for kind, count in counts.items() if count}

    def take_plain(self, messages: Sequence[_Message | ApiError], text: bytes) -> Collection[int]:
        """Takes the tracks of a batch all at once where none of them needs a closer look, as is so in most batches: a look at
        each costs twice as much. The places of those that were taken."""
        taken, sent = self._taken, self._sent
        if taken.may_hold_odd or self._request_members or (sent is not None and not is_right(sent, taken.now)):
            return ()
        if len(messages) < _PLAIN_FROM or may_have_one_of(text, _NOT_PLAIN):
            return ()
        tracks = {
            i: one
            for i, one in enumerate(messages)
            if isinstance(one, _Message) and one.type == "track" and not one.sent_at
        }
        if self._context and any(bytes(track.context) != self._context for track in tracks.values()):
            return ()
        events = _plain_events(tracks.values(), taken.now)
        if events is None:
            return ()
        taken.plain_events(tracks, events)
        for track in tracks.values():
            self._count_lost(track)
        return tracks.keys()

    def add(self, message: _Message, own_kind: str | None, payload: Payload) -> None:
        """Raises ApiError."""
        kind = own_kind or message.type or ""
        key = self._taken.key_of(text_of_id(message.message_id))
        user, anonymous = text_of_id(message.user_id), text_of_id(message.anonymous_id)
        context = self._context_of(message)
        time, sent = self._time(message, context)
        if kind == "track":
            self._event(message, context, (user, anonymous), _required(message.event, "event"), [], time, sent, key)
        elif kind in ("page", "screen"):
            # RudderStack's for phones write the name of a screen as `event`.
            name = message.name if message.name is not None else message.event
            named = {"name": name, "category": message.category}
            members = [
                encode(name) + b":" + encode(text_of_id(value)) for name, value in named.items() if value is not None
            ]
            self._event(message, context, (user, anonymous), kind, members, time, sent, key)
        elif kind == "identify":
            traits = self._traits(message, context)
            distinct_id = _required(_first(anonymous, user), "userId")
            self._taken.identify(distinct_id, user, traits, time, key, payload=payload)
        elif kind == "alias":
            old = _required(_first(text_of_id(message.previous_id), anonymous), "previousId")
            self._taken.alias(old, _required(user, "userId"), key)
        elif kind == "group":
            traits = self._taken.object_of(message.traits, "traits")
            group = _required(message.group_id, "groupId")
            self._taken.group(_first(user, anonymous), self._group_type, group, traits, time, key)
        else:
            raise ApiError(
                ErrorCode.INVALID_FIELD,
                f"`type`: `{kind[:50]}` is none of track, page, screen, identify, group, alias.",
                field="type",
            )
        self._count_lost(message)
        if kind in ("identify", "alias", "group"):
            self._identity_context += _says_more(context, kind)

    def _context_of(self, message: _Message) -> Raw:
        """What the batch says in its context counts for all its messages, and what they say themselves counts more. Raises
        ApiError."""
        own = bytes(message.context)
        if not self._context or own == self._context:
            return message.context
        self._taken.repeat(len(self._context))
        return Raw(merged(self._context, own if own[:1] == b"{" else b"{}"))

    def _event(
        self,
        message: _Message,
        context: Raw,
        ids: tuple[str | None, str | None],
        name: str,
        members: list[bytes],
        time: datetime | None,
        sent: str,
        key: str | None,
    ) -> None:
        """`ids`: of the user, and the anonymous one. `members` are put into the properties."""
        properties = bytes(message.properties) or b"{}"
        if properties[:1] != b"{":
            properties = self._taken.object_of(message.properties, "properties")
        user, anonymous = ids
        if user is not None and anonymous is not None:
            members.append(b'"$anonymous_id":' + encode(anonymous))
        self._add_context(context, text_of_id(message.group_id), members)
        members += self._request_members
        if members and _may_hold(properties, members):
            # The event's own come first: where it has one of these names, that one stays.
            own = first_members(properties)
            members = [member for member in members if _decode_any(member.partition(b":")[0]) not in own]
        text = self._taken.object_of(Raw(with_members(properties, members)), "properties")
        distinct_id = user if user is not None else _required(anonymous, "userId")
        self._taken.event(name, distinct_id, text, time, key, sent)

    def _add_context(self, context: Raw, group: str | None, members: list[bytes]) -> None:
        """The context without traits: they are personal data, and RudderStack's browser SDK sends them with every event.
        `group`: what the event itself says, as Jitsu's do; else the context says it."""
        text = bytes(context)
        if text[:1] == b"{" and text != b"{}":
            if b'"traits"' in text or b'"groupId"' in text:
                fields = first_members(text)
                if fields.pop("traits", None) is not None:
                    text = encode(fields)
                if group is None and "groupId" in fields:
                    group = text_of_id(_decode_any(fields["groupId"]))
            members.append(b'"$context":' + text)
        if group is not None:
            members.append(b'"$groups":' + encode({self._group_type: group}))

    def _traits(self, message: _Message, context: Raw) -> bytes:
        """Those of the context too: RudderStack's Python and browser SDKs send them there alone."""
        traits = self._taken.object_of(message.traits, "traits")
        of_context = first_members(context).get("traits") if b'"traits"' in bytes(context) else None
        return traits if of_context is None else merged(self._taken.object_of(of_context, "context.traits"), traits)

    def _time(self, message: _Message, context: Raw) -> tuple[datetime | None, str]:
        """When it happened, and the time as sent, where the client's clock was wrong."""
        time = time_of(message.timestamp) or time_of(message.original_timestamp)
        sent = (time_or_none(message.sent_at) if message.sent_at else None) or self._sent
        if time is None or sent is None:
            return time, ""
        now = self._taken.now
        right = corrected(time, sent, now, lambda: _library(context) in _STAMP_EACH_TRY)
        return right, "" if right is time else time.isoformat().replace("+00:00", "Z")

    def _count_lost(self, message: _Message) -> None:
        self._integrations += bytes(message.integrations) not in _NOTHING
        if message.metadata:
            self._metadata += bytes(message.metadata) not in _NOTHING
        if message.channel:
            self._channel += bytes(message.channel) not in _NOTHING
        if message.metrics or message.enrichment:
            self._unknown += sum(bytes(field) not in _NOTHING for field in (message.metrics, message.enrichment))


def _key_of(message: _Message) -> str | None:
    return message.write_key


def _plain_events(tracks: Collection[_Message], now: datetime) -> PlainEvents | None:
    """None where one of them needs a closer look, or there are none."""
    names = _texts([one.event for one in tracks], MAX_EVENT_NAME_CHARS)
    keys = _texts([one.message_id for one in tracks], MAX_IDEMPOTENCY_KEY_CHARS)
    ids = _texts([one.anonymous_id if one.user_id is None else one.user_id for one in tracks], MAX_ID_CHARS)
    if not (names and keys and ids) or not FIRST_OF_KEYS.issuperset(map(_first_char, keys)):
        return None
    times = read_plain_times([one.timestamp for one in tracks], now)
    properties = _plain_properties(tracks) if times else None
    return PlainEvents(names, ids, properties, times, keys) if times and properties else None


def _texts(values: list[_Id], most: int) -> list[str] | None:
    """The values, where each is a text of 1 to so many characters."""
    try:
        "".join(values)  # type: ignore[arg-type]
    except TypeError:
        return None
    return values if all(values) and max(map(len, values), default=0) <= most else None  # type: ignore[return-value, arg-type]


def _plain_properties(tracks: Collection[_Message]) -> list[bytes] | None:
    """With the context, and with the anonymous id beside a user's. None where one needs a closer look. Its copies are short
    lived, and so stay in the processor's caches. A context that is the one of the event before was looked at with it."""
    texts, objects = [], []
    last: bytes | None = None
    for one in tracks:
        properties, context, anonymous = bytes(one.properties) or b"{}", bytes(one.context), one.anonymous_id
        if context != last:
            if len(context) <= len("{}") or context[0] != _CURLY:
                return None
            objects.append(b'{"$context":%b}' % context)
            last = context
        objects.append(properties)
        if properties == b"{}":
            start = b"{"
        elif properties[-2:-1] in _BLANKS:
            return None
        else:
            start = properties[:-1] + b","
        if anonymous is None or anonymous == "" or one.user_id is None:  # 0 is one
            text = b"".join((start, b'"$context":', context, b"}"))
        elif isinstance(anonymous, str) and len(anonymous) <= MAX_ID_CHARS:
            text = b"".join((start, b'"$anonymous_id":', encode(anonymous), b',"$context":', context, b"}"))
        else:
            return None
        if len(text) > MAX_EVENT_BYTES:
            return None
        texts.append(text)
    return texts if all_objects(objects, b"\n".join(objects)) else None


def _may_hold(properties: bytes, members: list[bytes]) -> bool:
    """Whether properties may have one of these names."""
    return b'"$' in properties or (members[0][:2] != b'"$' and (b'"name"' in properties or b'"category"' in properties))


def _call_of(path: str) -> str:
    return path.rpartition("/")[2]


def _first(first: str | None, second: str | None) -> str | None:
    return first if first is not None else second


def _required(value: Any, name: str) -> str:
    text = text_of_id(value)
    if text is None:
        raise ApiError(ErrorCode.MISSING_FIELD, f"`{name}` is required.", field=name)
    return text


def _says_more(context: Raw, kind: str) -> bool:
    """Whether a message about people has a context of which something is lost. Of an identify the traits are taken."""
    text = bytes(context)
    if kind == "identify" and text[:1] == b"{" and b'"traits"' in text:
        return bool(first_members(text).keys() - {"traits"})
    return text not in _NOTHING


def _library(context: Raw) -> str:
    class_name = b'"library"'
    if class_name not in bytes(context):
        return ""
    try:
        library = _decode_any(first_members(context).get("library", Raw(b"null")))
    except FAULTS:
        return ""
    name = library.get("name") if isinstance(library, dict) else None
    return name if isinstance(name, str) else ""
