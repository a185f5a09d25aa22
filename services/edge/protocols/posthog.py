"""PostHog: events alone, in arrays, in batches, in forms; capture v1; and what its SDKs ask for when they start."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw, Struct, field

from services.contract.api.encoding import without_mark
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.repeated_names import first_members
from services.edge.protocols.family import (
    MAX_HEADER_CHARS,
    Answer,
    Family,
    Incoming,
    Parsed,
    corrected,
    json_answer,
    text_of_id,
    time_of,
    time_or_none,
)
from services.edge.protocols.forms import form_of, unpacked
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
from services.edge.protocols.taken import Taken, encode, merged, with_members
from services.edge.protocols.text_keys import TextKeys, is_exact, is_id

_Id = str | int | float | None
_V1 = frozenset(["/i/v1/analytics/events", "/i/v1/ai/events"])
_RECORDINGS = frozenset(["$snapshot", "$snapshot_items", "$performance_event"])
# They stamp each try with its time, posthog-js as `web`; posthog-node keeps the time of the first.
_STAMP_EACH_TRY = frozenset(
    ["posthog-python", "posthog-server", "posthog-android", "posthog-ios", "posthog-flutter", "web"]
)
_MILLISECONDS = re.compile("[0-9]{13}")
_MAX_OFFSET_MS = 1e12
# posthog-js tries for hours; a page may sleep for days meanwhile. Beyond that its `$time` is not what we take it for.
_MAX_WAITED = timedelta(days=30)
_VERSION = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})\.")
# They say alias(previous, new); all others alias(id, alias), where the alias is the earlier one.
_ALIAS_IS_NEW = frozenset(["posthog-python", "posthog-dotnet"])
# Of properties: what is no property of the event, but an id, or a trait of the person; or the project key.
_NOT_PROPERTIES = ("distinct_id", "$set", "$set_once", "$unset", "$insert_id")
_KEYS = ("token", "api_key")
_CANONICAL = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MARKS = tuple(b'"%b"' % name.encode() for name in (*_NOT_PROPERTIES, *_KEYS))


class _Event(Struct, gc=False, forbid_unknown_fields=True):
    event: str = ""
    distinct_id: _Id = None
    own_id: _Id = field(default=None, name="$distinct_id")  # where Rust's SDK says it
    uuid: str | None = None
    properties: Raw = field(default_factory=Raw)
    timestamp: Raw = field(default_factory=Raw)
    sent_at: Raw = field(default_factory=Raw)
    offset: int | float | None = None
    set_: Raw = field(default_factory=Raw, name="$set")
    set_once: Raw = field(default_factory=Raw, name="$set_once")
    unset: Raw = field(default_factory=Raw, name="$unset")
    session_id: str | None = None
    window_id: str | None = None
    lib: str | None = field(default=None, name="$lib")  # where Java's SDK says it
    message_id: Raw = field(default_factory=Raw, name="messageId")  # Ruby's SDK gives no other id
    options: Raw = field(default_factory=Raw)
    api_key: str | None = None
    token: str | None = None
    # Known, and nothing that we need.
    type: Raw = field(default_factory=Raw)
    library: Raw = field(default_factory=Raw)
    library_version: Raw = field(default_factory=Raw)
    library_consumer: Raw = field(default_factory=Raw)
    context: Raw = field(default_factory=Raw)
    send_feature_flags: Raw = field(default_factory=Raw)
    disable_geoip: Raw = field(default_factory=Raw, name="$geoip_disable")
    historical_migration: Raw = field(default_factory=Raw)
    # PHP's SDK says them here, too: what is asked for flags with, and what it has put into the properties itself.
    groups: Raw = field(default_factory=Raw)
    own_groups: Raw = field(default_factory=Raw, name="$groups")


class _Batch(Struct):
    batch: list[_Event]
    api_key: str | None = None
    token: str | None = None
    sent_at: Raw = field(default_factory=Raw)
    sent_at_of_python: Raw = field(default_factory=Raw, name="sentAt")  # so its SDK named it for years


class _Envelope(Struct):
    api_key: str | None = None
    token: str | None = None
    sent_at: Raw = field(default_factory=Raw)
    sent_at_of_python: Raw = field(default_factory=Raw, name="sentAt")


# posthog-js loses what gets a 429. Node's SDK halves what gets a 413.
_STATUSES = {ErrorCode.RATE_LIMITED: 503, ErrorCode.BATCH_TOO_LARGE: 413}
_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_any = msgspec.json.decode


class PostHog(Family):
    """Never answers 429: posthog-js loses what gets one."""

    name = "posthog"

    def is_its(self, incoming: Incoming) -> bool:
        return incoming.path != "/batch" or not has_events(incoming.data)

    def key_in_headers(self, incoming: Incoming) -> str | None:
        kind, _, rest = incoming.headers.get("authorization", "").strip().partition(" ")
        return (rest.strip() or None) if kind.lower() == "bearer" else None

    def key_in_query(self, incoming: Incoming) -> str | None:
        return incoming.query.get("api_key") or incoming.query.get("token")

    # --- Translation ---

    def parse(self, incoming: Incoming) -> Parsed:
        parsed = self._read(incoming)
        if incoming.path == "/s":  # a recording: it has the key where events have it, and nothing else that counts
            parsed.messages = Messages([], list, set())
        return parsed

    def _read(self, incoming: Incoming) -> Parsed:
        form = form_of(incoming.data)
        text, at_once = text_of(incoming.data if form is None else unpacked(form["data"]))
        if text.lstrip().startswith(b"["):
            return self._parsed(incoming, read_list(text, _Event), _Envelope(), text)
        if at_once:
            try:
                body = _decode_batch(text)
            except FAULTS:
                pass
            else:
                return self._parsed(incoming, list_messages(body.batch, text, "batch"), body, text)
        members = members_of(text)
        envelope = read_envelope(members, _Envelope)
        for name in ("batch", "data"):
            if members.get(name, b"").lstrip().startswith(b"["):
                return self._parsed(incoming, read_list(members[name], _Event), envelope, text)
        return self._parsed(incoming, read_one(text, _Event), envelope, text)

    def _parsed(self, incoming: Incoming, messages: Messages[_Event], envelope: Any, text: bytes) -> Parsed:
        """What the events themselves say of a key counts where nothing else does: an app may have a property `token`."""
        key = incoming.key or envelope.api_key or envelope.token
        return Parsed(messages, envelope, key or refuse_other_keys(messages, _key_of), text)

    def take(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> None:
        if incoming.path == "/s":
            taken.lost["recording"] += 1
            return
        members = self.request_members(incoming)
        library, _, version = incoming.headers.get("posthog-sdk-info", "")[:MAX_HEADER_CHARS].partition("/")
        if incoming.path in _V1 and library:  # as capture v1 says: these come from the header alone
            members += [b'"$lib":' + encode(library), b'"$lib_version":' + encode(version)]
        translation = _Translation(taken, parsed, members, library, _sent_of_try(incoming))
        taken.each(parsed.messages, translation.add)

    # --- Answers ---

    def answer(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        if incoming.path not in _V1:
            return Answer(200, b'{"status":1}')
        refused = {rejected.index: rejected.error.message for rejected in taken.rejected}
        results: dict[str, dict[str, str]] = {}
        for index, message in enumerate(parsed.messages.items):
            uuid = message.uuid if isinstance(message, _Event) else _uuid_in(parsed.messages.payload(index).text)
            if uuid:
                details = refused.get(index)
                result = {"result": "ok"} if details is None else {"result": "drop", "details": details}
                results[uuid] = results[_canonical(uuid)] = result
        return json_answer({"results": results})

    def refuse(self, incoming: Incoming, error: ApiError) -> Answer:
        detail = error.detail()
        status = _STATUSES.get(error.code, error.code.status)
        kind = (
            "authentication_error" if status in (401, 403) else "validation_error" if status < 500 else "server_error"
        )
        body = {
            "type": kind,
            "code": detail.code,
            "detail": detail.message,
            "error": detail,
            "request_id": incoming.request_id,
        }
        if incoming.path in _V1:  # its SDKs read texts here; Go's takes no answer whose `error` is none
            body |= {"error": detail.code, "error_description": detail.message}
        return Answer(status, encode(body))

    def page(self, incoming: Incoming) -> Answer | None:
        """Flags: there are none. The configuration: send events, and nothing else."""
        if incoming.path in ("/flags", "/decide"):
            return json_answer(_flags(incoming))
        if incoming.path.startswith("/array/"):
            _, _, key, name = incoming.path.split("/")
            config = encode(_config(key))
            if name == "config":
                return Answer(200, config)
            start = b"(function(){var c=window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{};c["
            script = start + encode(key) + b"]={config:" + config + b",siteApps:[]};})();"
            return Answer(200, script.replace(b"<", b"\\u003c"), "application/javascript")
        return None


def _key_of(event: _Event) -> str | None:
    return event.api_key or event.token or _token_of(event.properties)


def _uuid_in(text: bytes) -> str | None:
    """Of an event that could not be read: an SDK takes one that has no answer for a stored one."""
    try:
        uuid = _decode_any(members_of(text).get("uuid", b"null"))
    except (ApiError, *FAULTS):
        return None
    return uuid if isinstance(uuid, str) else None


def _canonical(uuid: str) -> str:
    """As PostHog writes it back, and Go's SDK looks for it."""
    if _CANONICAL.fullmatch(uuid):
        return uuid
    try:
        return str(UUID(uuid))
    except ValueError:
        return uuid


def _sent_of_try(incoming: Incoming) -> Raw:
    """When this try was sent, where that stands outside of the body: capture v1 says it in a header, posthog-js in the
    address, as `sent_at` or before as `_`. Old ones keep the address of the first try."""
    if incoming.path in _V1:
        return Raw(encode(incoming.headers.get("posthog-request-timestamp")))
    query = incoming.query
    given = query.get("sent_at") or (query.get("_", "") if _is_new_address(query.get("ver", "")) else "")
    return Raw(given.encode()) if _MILLISECONDS.fullmatch(given) else Raw()


def _is_new_address(version: str) -> bool:
    found = _VERSION.match(version)
    return found is not None and (int(found[1]), int(found[2])) >= (1, 180)


def _is_unique(event: _Event) -> bool:
    return is_id(event.uuid or _id_of(event)) or is_exact(bytes(event.timestamp))


def _id_of(event: _Event) -> str | None:
    return text_of_id(_decode_any(event.message_id)) if event.message_id else None


def _token_of(properties: Raw) -> str | None:
    text = bytes(properties)
    if text[:1] != b"{":
        return None
    fields = first_members(text)
    for name in _KEYS:
        if name in fields:
            return text_of_id(_decode_any(fields[name]))
    return None


def has_events(data: bytes) -> bool:
    """Whether a body is Amplitude's: it has `events`, where PostHog's has `batch`."""
    data = without_mark(data)
    try:
        members: Any = _decode_fields(data)
    except FAULTS:
        try:
            members = members_of(data)
        except ApiError:
            return False
    return "events" in members and "batch" not in members


class _Translation:
    """Of one request."""

    def __init__(
        self, taken: Taken, parsed: Parsed, request_members: list[bytes], library: str, sent_of_try: Raw
    ) -> None:
        self._taken = taken
        self._key = encode(parsed.key)
        self._sent = parsed.envelope.sent_at or parsed.envelope.sent_at_of_python
        self._sent_of_try = time_or_none(sent_of_try)
        self._request_members = request_members
        self._library = library
        self._text_keys = TextKeys(parsed.messages, _is_unique)

    def add(self, message: _Event, payload: Payload) -> None:
        """Raises ApiError."""
        if message.event in _RECORDINGS:
            self._taken.lost["recording"] += 1
            return
        properties = self._taken.object_of(message.properties, "properties")
        apart: dict[str, Raw] = {}
        if any(mark in properties for mark in _MARKS) or message.event in _KINDS:
            apart = first_members(properties)
            properties = encode({name: value for name, value in apart.items() if self._is_property(name, value)})
        distinct_id = text_of_id(message.distinct_id) or text_of_id(message.own_id) or _text(apart, "distinct_id")
        if distinct_id is None:
            raise ApiError(ErrorCode.MISSING_FIELD, "`distinct_id` is required.", field="distinct_id")
        key = self._taken.key_of(message.uuid or _text(apart, "$insert_id") or _id_of(message))
        if key is None:  # Python's SDK of up to 2024, and Go's
            key = self._text_keys.key_of(payload, bytes(message.timestamp))
        time, sent = self._time(message, properties)
        if message.options and bytes(message.options) not in (b"{}", b"null"):
            self._taken.lost["options"] += 1
        translate = _KINDS.get(message.event)
        if translate is not None:
            translate(self, message, apart, distinct_id, time, key, payload)
        else:
            self._event(message, distinct_id, properties, time, key, sent)
        # Any may have traits beside what it is about. posthog-js says with the first one that makes a person where that one
        # came from, and never again; an alias may be the first.
        if message.event not in _ABOUT_TRAITS and (apart or message.set_ or message.set_once or message.unset):
            traits, set_once = self._traits(message, apart)
            if traits != b"{}" or set_once != b"{}":
                self._taken.identify(distinct_id, None, traits, time, key, set_once=set_once, payload=payload)

    def _event(
        self, message: _Event, distinct_id: str, properties: bytes, time: datetime | None, key: str | None, sent: str
    ) -> None:
        members = list(self._request_members)
        for name, value in (
            (b"$session_id", message.session_id),
            (b"$window_id", message.window_id),
            (b"$lib", message.lib),
        ):
            if value is not None and b'"%b"' % name not in properties:
                members.append(b'"%b":%b' % (name, encode(value)))
        text = with_members(properties, members)
        self._taken.event(message.event, distinct_id, self._taken.object_of(Raw(text), "properties"), time, key, sent)

    def _is_property(self, name: str, value: Raw) -> bool:
        return name not in _NOT_PROPERTIES and (name not in _KEYS or bytes(value) != self._key)

    def identify(
        self,
        message: _Event,
        apart: dict[str, Raw],
        distinct_id: str,
        time: datetime | None,
        key: str | None,
        payload: Payload,
    ) -> None:
        prior = _text(apart, "$anon_distinct_id")
        traits, set_once = self._traits(message, apart)
        user_id = None if prior is None else distinct_id
        self._taken.identify(prior or distinct_id, user_id, traits, time, key, set_once=set_once, payload=payload)

    def traits(
        self,
        message: _Event,
        apart: dict[str, Raw],
        distinct_id: str,
        time: datetime | None,
        key: str | None,
        payload: Payload,
    ) -> None:
        traits, set_once = self._traits(message, apart)
        self._taken.identify(distinct_id, None, traits, time, key, set_once=set_once, payload=payload)

    def alias(
        self,
        message: _Event,
        apart: dict[str, Raw],
        distinct_id: str,
        time: datetime | None,
        key: str | None,
        payload: Payload,
    ) -> None:
        alias = _text(apart, "alias")
        if alias is None:
            raise ApiError(ErrorCode.MISSING_FIELD, "`properties.alias` is required.", field="properties.alias")
        library = _text(apart, "$lib") or self._library
        if message.event == "$create_alias" and library in _ALIAS_IS_NEW:
            self._taken.alias(distinct_id, alias, key)
        else:
            self._taken.alias(alias, distinct_id, key)

    def group(
        self,
        message: _Event,
        apart: dict[str, Raw],
        distinct_id: str,
        time: datetime | None,
        key: str | None,
        payload: Payload,
    ) -> None:
        """Of the group alone: whose groups an event is in says the event itself."""
        group_type, group_key = _text(apart, "$group_type"), _text(apart, "$group_key")
        if group_type is None or group_key is None:
            raise ApiError(ErrorCode.MISSING_FIELD, "`$group_type` and `$group_key` are required.", field="properties")
        traits = self._taken.object_of(apart.get("$group_set", Raw(b"{}")), "$group_set")
        self._taken.group(None, group_type, group_key, traits, time, key)

    def _traits(self, message: _Event, apart: dict[str, Raw]) -> tuple[bytes, bytes]:
        """What is set and removed, and what is set once; said in the event or in its properties."""
        traits = set_once = b"{}"
        for unset in (message.unset, apart.get("$unset", Raw())):
            traits = merged(traits, self._taken.unset_of(unset, "$unset"))
        for found in (message.set_, apart.get("$set", Raw())):
            traits = merged(traits, self._taken.object_of(found, "$set"))
        for found in (message.set_once, apart.get("$set_once", Raw())):
            set_once = merged(set_once, self._taken.object_of(found, "$set_once"))
        return traits, set_once

    def _time(self, message: _Event, properties: bytes) -> tuple[datetime | None, str]:
        time, now = time_of(message.timestamp), self._taken.now
        if time is None:
            ago = self._ago(message, properties)
            return (None if ago is None else now - ago), ""
        of_try = self._sent_of_try
        sent = of_try or time_or_none(message.sent_at or self._sent)
        right = corrected(time, sent, now, lambda: bool(of_try) or _library(properties) in _STAMP_EACH_TRY)
        return right, "" if right is time else time.isoformat().replace("+00:00", "Z")

    def _ago(self, message: _Event, properties: bytes) -> timedelta | None:
        """How long before this try it happened. posthog-js says `offset`, milliseconds before the first try, and keeps it;
        what has waited since is seen by its `$time`, from the same clock as the time of this try."""
        if message.offset is None or not 0 <= message.offset < _MAX_OFFSET_MS:
            return None
        ago, sent = timedelta(milliseconds=message.offset), self._sent_of_try
        if sent is None or b'"$time"' not in properties:
            return ago
        captured = time_or_none(_decode_fields(properties).get("$time", Raw()))
        waited = ago if captured is None else sent - captured
        return max(ago, waited) if waited < _MAX_WAITED else ago


_KINDS = {
    "$identify": _Translation.identify,
    "$set": _Translation.traits,
    "$set_once": _Translation.traits,
    "$create_alias": _Translation.alias,
    "$merge_dangerously": _Translation.alias,
    "$groupidentify": _Translation.group,
}
_ABOUT_TRAITS = frozenset(["$identify", "$set", "$set_once"])


def _library(properties: bytes) -> str | None:
    return _text(first_members(properties), "$lib")


def _text(fields: dict[str, Raw], name: str) -> str | None:
    return text_of_id(_decode_any(fields[name])) if name in fields else None


def _flags(incoming: Incoming) -> dict[str, Any]:
    return {
        "flags": {},
        "featureFlags": {},
        "featureFlagPayloads": {},
        "errorsWhileComputingFlags": False,
        "requestId": incoming.request_id,
        "evaluatedAt": 0,
        **_config(""),
    }


def _config(key: str) -> dict[str, Any]:
    """Everything off but events."""
    return {
        "token": key,
        "supportedCompression": ["gzip", "gzip-js"],
        "hasFeatureFlags": False,
        "captureDeadClicks": False,
        "capturePerformance": False,
        "autocapture_opt_out": False,
        "autocaptureExceptions": False,
        "analytics": {"endpoint": "/i/v0/e/"},
        "elementsChainAsString": True,
        "sessionRecording": False,
        "heatmaps": False,
        "surveys": False,
        "defaultIdentifiedOnly": True,
        "siteApps": [],
        "toolbarParams": {},
        "isAuthenticated": False,
        "config": {"enable_collect_everything": True},
    }
