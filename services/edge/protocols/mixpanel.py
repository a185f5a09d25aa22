"""Mixpanel: /track and /import for events, /engage for people, /groups for groups."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.repeated_names import first_members
from services.edge.protocols.family import (
    Answer,
    Family,
    Incoming,
    Parsed,
    basic_of,
    json_answer,
    none_valid,
    text_of_id,
    time_of,
)
from services.edge.protocols.forms import form_of, is_json, unpacked
from services.edge.protocols.messages import FAULTS, Messages, Payload, read_lines, read_list, read_one, text_of
from services.edge.protocols.taken import LINE_BYTES, Taken, encode, merged, with_members
from services.edge.protocols.text_keys import TextKeys, is_exact, is_id
from services.runtime.keys import KEY_PREFIX

_Id = str | int | float | None
# Of properties: what is no property of the event, but the key, an id, a time.
_NOT_PROPERTIES = ("token", "distinct_id", "time", "$insert_id")
_OPERATIONS = ("$add", "$append", "$union", "$remove", "$delete")


class _Event(Struct, gc=False, forbid_unknown_fields=True):
    event: str = ""
    properties: Raw = field(default_factory=Raw)
    metadata: Raw = field(default_factory=Raw, name="$mp_metadata")
    row: Raw = field(default_factory=Raw, name="id")  # in the phone's own store


class _Update(Struct, gc=False, forbid_unknown_fields=True):
    """Of a profile or a group."""

    token: str | None = field(default=None, name="$token")
    distinct_id: _Id = field(default=None, name="$distinct_id")
    group_type: _Id = field(default=None, name="$group_key")
    group_key: _Id = field(default=None, name="$group_id")
    time: Raw = field(default_factory=Raw, name="$time")
    set_: Raw = field(default_factory=Raw, name="$set")
    set_once: Raw = field(default_factory=Raw, name="$set_once")
    unset: Raw = field(default_factory=Raw, name="$unset")
    add: Raw = field(default_factory=Raw, name="$add")
    append: Raw = field(default_factory=Raw, name="$append")
    union: Raw = field(default_factory=Raw, name="$union")
    remove: Raw = field(default_factory=Raw, name="$remove")
    delete: Raw = field(default_factory=Raw, name="$delete")
    metadata: Raw = field(default_factory=Raw, name="$mp_metadata")
    # Known, and nothing that we need.
    ip: Raw = field(default_factory=Raw, name="$ip")
    ignore_time: Raw = field(default_factory=Raw, name="$ignore_time")
    ignore_alias: Raw = field(default_factory=Raw, name="$ignore_alias")
    device_id: Raw = field(default_factory=Raw, name="$device_id")
    user_id: Raw = field(default_factory=Raw, name="$user_id")
    had_persisted: Raw = field(default_factory=Raw, name="$had_persisted_distinct_id")
    row: Raw = field(default_factory=Raw, name="id")


_decode_any = msgspec.json.decode


class Mixpanel(Family):
    """Success is the body `1`, or `"status":1` where the request says `verbose`; `"status":"OK"` of an import as JSON.

    Each is read by SDKs that take nothing else: Go's reads a bare number after a profile as JSON.
    """

    name = "mixpanel"

    def key_in_headers(self, incoming: Incoming) -> str | None:
        """Basic with the key as its user, or behind the name of a service account; of an import alone. npm's SDK sends the
        API secret of its imports with everything. What is no key of ours, as Mixpanel's own secret, is not asked for: the
        token in the messages counts."""
        if incoming.path != "/import":
            return None
        kind, _, rest = incoming.headers.get("authorization", "").strip().partition(" ")
        if kind.lower() != "basic":
            return None
        user, password = basic_of(rest)
        return next((one for one in (password, user) if one.startswith(KEY_PREFIX)), None)

    def key_in_query(self, incoming: Incoming) -> str | None:
        """So it does with its API key. Elsewhere the token in the messages is asked first."""
        api_key = incoming.query.get("api_key", "") if incoming.path == "/import" else ""
        return api_key if api_key.startswith(KEY_PREFIX) else incoming.query.get("token")

    def parse(self, incoming: Incoming) -> Parsed:
        data = incoming.data
        kind: type[Any] = _Event if incoming.path in ("/track", "/import") else _Update
        messages: Messages[Any]
        is_lines = incoming.path == "/import" and "ndjson" in incoming.headers.get("content-type", "")
        form = None if is_lines else form_of(data)
        if is_lines:
            messages, text = read_lines(data, kind)
        else:
            if form is not None:
                text, _ = text_of(unpacked(form["data"]))
            else:
                text, _ = text_of(data if is_json(data) else unpacked(data.decode("latin-1")))
            is_list = text.lstrip().startswith(b"[")
            messages = read_list(text, kind) if is_list else read_one(text, kind)
        token = next((token for token in map(_token_of, messages.items) if token), None)
        says_verbose = "1" in (incoming.query.get("verbose"), (form or {}).get("verbose"))
        is_import = incoming.path == "/import" and (is_lines or is_json(data))
        key = token or incoming.query.get("api_key")
        return Parsed(messages, "OK" if is_import else 1 if says_verbose else None, key, text)

    def take(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> None:
        translation = _Translation(taken, parsed, self.request_members(incoming))
        add = {"/engage": translation.profile, "/groups": translation.group}.get(incoming.path, translation.event)
        taken.each(parsed.messages, add)

    def answer(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        status = parsed.envelope
        if status is None:
            return Answer(200, b"1", "text/plain")
        return json_answer({"status": status, "error": None, "code": 200, "num_records_imported": taken.messages})

    def nothing_valid(self, incoming: Incoming, parsed: Parsed, taken: Taken) -> Answer:
        """Swift's and Android's send again for ever what gets no 200, and nothing that came after it. As Mixpanel does, an
        import alone says 400."""
        error = none_valid(taken)
        if incoming.path == "/import":
            return self.refuse(incoming, error)
        if parsed.envelope is None:
            return Answer(200, b"0", "text/plain")
        return json_answer({"status": 0, "error": error.message})

    def refuse(self, incoming: Incoming, error: ApiError) -> Answer:
        body = {"status": 0, "error": error.message, "code": error.code.status, "request_id": incoming.request_id}
        return json_answer(body, error.code.status)


def _token_of(message: Any) -> str | None:
    if isinstance(message, _Update):
        return message.token
    if not isinstance(message, _Event) or bytes(message.properties)[:1] != b"{":
        return None
    try:
        return _text(first_members(message.properties), "token")
    except FAULTS:
        return None  # its fault costs that message alone, when it is looked at


class _Translation:
    """Of one request. Messages with another token than the first are refused: they are another project's."""

    def __init__(self, taken: Taken, parsed: Parsed, request_members: list[bytes]) -> None:
        self._taken = taken
        self._token = parsed.key
        self._request_members = request_members
        self._text_keys = TextKeys(parsed.messages, _is_unique)

    def event(self, message: _Event, payload: Payload) -> None:
        """Raises ApiError."""
        fields = first_members(self._taken.object_of(message.properties, "properties"))
        self._check(_text(fields, "token"))
        given = _text(fields, "distinct_id") or _text(fields, "$user_id") or _text(fields, "$device_id")
        time = time_of(fields.get("time", Raw()))
        if message.event in ("$identify", "$create_alias", "$merge"):
            self._identity(message, fields, given, time, payload)
            return
        if given is None:
            raise ApiError(ErrorCode.MISSING_FIELD, "`distinct_id` is required.", field="properties.distinct_id")
        key = self._key(message, given, fields, payload)
        own = encode({name: value for name, value in fields.items() if name not in _NOT_PROPERTIES})
        text = self._taken.object_of(Raw(with_members(own, self._request_members)), "properties")
        self._taken.event(message.event, given, text, time, key)

    def _identity(
        self, message: _Event, fields: dict[str, Raw], given: str | None, time: datetime | None, payload: Payload
    ) -> None:
        kind, key = message.event, self._key(message, given or "", fields, payload)
        if kind == "$identify":
            user = _required(_text(fields, "$identified_id") or given, "distinct_id")
            prior = _text(fields, "$anon_distinct_id") or _text(fields, "$anon_id") or user
            self._taken.identify(prior, user, b"{}", time, key, payload=payload)
        elif kind == "$create_alias":
            alias = _required(_text(fields, "alias"), "alias")
            self._taken.alias(_required(given, "distinct_id"), alias, key)
        else:
            ids = _decode_any(fields.get("$distinct_ids", Raw(b"[]")))
            texts = [text for text in map(text_of_id, ids if isinstance(ids, list) else []) if text is not None]
            if len(texts) < 2:
                raise ApiError(
                    ErrorCode.MISSING_FIELD, "`$distinct_ids` needs two ids.", field="properties.$distinct_ids"
                )
            self._taken.repeat(LINE_BYTES * (len(texts) - 2))
            for number, other in enumerate(texts[1:]):
                self._taken.alias(texts[0], other, key and self._taken.key_of(f"{number}:{key}"))

    def profile(self, message: _Update, payload: Payload) -> None:
        """Raises ApiError."""
        self._check(message.token)
        distinct_id = _required(text_of_id(message.distinct_id), "$distinct_id")
        traits, set_once = self._traits(message)
        if self._count_lost(message) and traits == set_once == b"{}":
            return
        key = self._key_of_update(message, distinct_id, payload)
        self._taken.identify(distinct_id, None, traits, time_of(message.time), key, set_once=set_once, payload=payload)

    def group(self, message: _Update, payload: Payload) -> None:
        """Raises ApiError."""
        self._check(message.token)
        group_type = _required(text_of_id(message.group_type), "$group_key")
        group_key = _required(text_of_id(message.group_key), "$group_id")
        traits, set_once = self._traits(message)
        if self._count_lost(message) and traits == set_once == b"{}":
            return
        key = self._key_of_update(message, f"{group_type}:{group_key}", payload)
        self._taken.group(None, group_type, group_key, traits, time_of(message.time), key, set_once=set_once)

    def _traits(self, message: _Update) -> tuple[bytes, bytes]:
        unset = self._taken.unset_of(message.unset, "$unset")
        return merged(unset, self._taken.object_of(message.set_, "$set")), self._taken.object_of(
            message.set_once, "$set_once"
        )

    def _count_lost(self, message: _Update) -> bool:
        """Whether there is an operation that has no place with us."""
        operations = (message.add, message.append, message.union, message.remove, message.delete)
        found = [name for name, operand in zip(_OPERATIONS, operations, strict=True) if operand]
        self._taken.lost.update(found)
        return bool(found)

    def _key(self, message: _Event, distinct_id: str, fields: dict[str, Raw], payload: Payload) -> str | None:
        insert_id = self._taken.key_of(_text(fields, "$insert_id") or _id_of_phone(message.metadata))
        time = bytes(fields.get("time", Raw())).decode()
        if insert_id is None:
            # Java sends a request again by itself when its connection breaks. Others' events may be alike but in time.
            is_java = bytes(fields.get("mp_lib", Raw())) == b'"jdk"'
            return self._text_keys.key_of(payload, time.encode()) if is_java else None
        return self._taken.key_of(f"{message.event}:{distinct_id}:{time}:{insert_id}")

    def _key_of_update(self, message: _Update, whose: str, payload: Payload) -> str | None:
        event_id = self._taken.key_of(_id_of_phone(message.metadata))
        if event_id is None:  # Python's and others' say to the millisecond when it was
            return self._text_keys.key_of(payload, bytes(message.time))
        return self._taken.key_of(f"{whose}:{bytes(message.time).decode()}:{event_id}")

    def _check(self, token: str | None) -> None:
        if token is not None and token != self._token:
            message = "The messages of a request must have one token. This one has another."
            raise ApiError(ErrorCode.INVALID_FIELD, message, field="token")


def _is_unique(message: Any) -> bool:
    if isinstance(message, _Update):
        return is_id(_id_of_phone(message.metadata)) or is_exact(bytes(message.time))
    properties = bytes(message.properties) if isinstance(message, _Event) else b""
    if properties[:1] != b"{":
        return False
    fields = first_members(properties)
    return is_id(_text(fields, "$insert_id")) or is_exact(bytes(fields.get("time", Raw())))


def _id_of_phone(metadata: Raw) -> str | None:
    """The SDKs for phones and Unity give each event and update an id beside its properties."""
    return _text(first_members(metadata), "$mp_event_id") if bytes(metadata)[:1] == b"{" else None


def _text(fields: dict[str, Raw], name: str) -> str | None:
    return text_of_id(_decode_any(fields[name])) if name in fields else None


def _required(value: str | None, name: str) -> str:
    if value is None:
        raise ApiError(ErrorCode.MISSING_FIELD, f"`{name}` is required.", field=name)
    return value
