"""Identify, alias and group: from body bytes to lines of the identity log. Pure: no I/O, no clock."""

from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct, field

from services.contract.api.encoding import HALVES_REPLACED, plain_text
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import (
    MAX_EVENT_BYTES,
    MAX_TRAITS,
    MAX_TRAITS_BYTES,
    Alias,
    Group,
    GroupType,
    Id,
    IdempotencyKey,
    Identify,
)
from services.contract.api.validation import invalid_message
from services.contract.log.envelope import IdentityLine
from services.contract.log.event_ids import fresh_ids, id_of_key, id_of_merge
from services.contract.placeholders import is_placeholder_id, placeholder_warning
from services.contract.repeated_names import first_of_each_name
from services.edge.intake.json_checks import json_object, refuse_nul
from services.edge.intake.lenient import MAX_UNKNOWN, drop_placeholder_key, read_fields
from services.edge.intake.timestamps import read_time, resolve_time


class IdentityIntake(Struct):
    """What becomes of a message: as a rule one line, none for an alias of an id to itself, two for an identify that links
    its id to a user and merges another one into it. `ids` are the 16-byte event ids of `lines`, in order."""

    ids: list[bytes] = field(default_factory=list)
    lines: list[IdentityLine] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class GroupTraits(Struct, forbid_unknown_fields=True):
    """Of a group that nobody says as its member: only SDKs send it."""

    group_type: GroupType
    group_key: Id
    traits: Raw = field(default_factory=Raw)
    set_once: Raw = field(default_factory=Raw)
    timestamp: Raw = field(default_factory=Raw)
    idempotency_key: IdempotencyKey | None = None


M = TypeVar("M", Identify, Alias, Group, GroupTraits)
# A key names one message of one kind of call; an identify may become a line of another kind.
_KINDS: dict[type, str] = {Identify: "identify", Alias: "alias", Group: "group", GroupTraits: "group"}


def take_identify(body: bytes, project_id: str, now: datetime, header_key: str | None) -> IdentityIntake:
    """Raises ApiError. A `user_id` asks for a link, `alias_for` for a merge, unless it is the same id."""
    message, warnings = _decode(body, Identify)
    time = _time_of(message, now, warnings)
    user_id, prior_id = message.user_id, message.alias_for
    links = user_id is not None and user_id != message.distinct_id
    merges = prior_id is not None and prior_id != message.distinct_id
    for name, is_side in (("user_id", links), ("alias_for", merges), ("distinct_id", links or merges)):
        if is_side:
            _refuse_placeholder(getattr(message, name), name)
    line = IdentityLine(
        project_id=project_id,
        event_id="",
        kind="identify",
        distinct_id=message.distinct_id,
        timestamp=time,
        received_at=now,
        old_id=(prior_id or "") if merges else "",
        user_id=user_id or "",
        traits=_traits(message.traits, "traits"),
        set_once=_traits(message.set_once, "set_once"),
    )
    if not links:
        return _intake(message, header_key, warnings, line)
    line.kind, line.distinct_id, line.old_id = "link", line.user_id, message.distinct_id
    intake = _intake(message, header_key, warnings, line)
    if merges and prior_id is not None:
        _add_merge(intake, prior_id, message.distinct_id)
    return intake


def take_alias(body: bytes, project_id: str, now: datetime, header_key: str | None) -> IdentityIntake:
    """Raises ApiError. No line where both ids are the same."""
    message, warnings = _decode(body, Alias)
    _refuse_placeholder(message.old_id, "old_id")
    _refuse_placeholder(message.new_id, "new_id")
    if message.old_id == message.new_id:
        return IdentityIntake(warnings=warnings)
    return _intake(
        message,
        header_key,
        warnings,
        IdentityLine(
            project_id=project_id,
            event_id="",
            kind="alias",
            distinct_id=message.new_id,
            timestamp=now,
            received_at=now,
            old_id=message.old_id,
        ),
    )


def take_group(body: bytes, project_id: str, now: datetime, header_key: str | None) -> IdentityIntake:
    """Raises ApiError."""
    message, warnings = _decode(body, Group)
    return _take_group(message, message.distinct_id, project_id, now, header_key, warnings)


def take_group_traits(body: bytes, project_id: str, now: datetime, header_key: str | None) -> IdentityIntake:
    """A group without a member. Raises ApiError."""
    message, warnings = _decode(body, GroupTraits)
    return _take_group(message, "", project_id, now, header_key, warnings)


def _take_group(
    message: Group | GroupTraits,
    distinct_id: str,
    project_id: str,
    now: datetime,
    header_key: str | None,
    warnings: list[str],
) -> IdentityIntake:
    return _intake(
        message,
        header_key,
        warnings,
        IdentityLine(
            project_id=project_id,
            event_id="",
            kind="group",
            distinct_id=distinct_id,
            timestamp=_time_of(message, now, warnings),
            received_at=now,
            group_type=message.group_type,
            group_key=message.group_key,
            traits=_traits(message.traits, "traits"),
            set_once=_traits(message.set_once, "set_once"),
        ),
    )


def _traits(value: Raw, name: str) -> Raw:
    """Few enough, and each name once: traits are read by several parsers. Raises ApiError."""
    text = bytes(value)
    if len(text) > MAX_TRAITS_BYTES:
        raise ApiError(
            ErrorCode.EVENT_TOO_LARGE,
            f"`{name}` has {len(text)} bytes; at most {MAX_TRAITS_BYTES} are taken. Shorten values, or send some of them in "
            "another message.",
            field=name,
        )
    value = json_object(value, name)
    # Each has its colon: few of them are a look that costs less.
    if text.count(b":") > MAX_TRAITS and (count := len(msgspec.json.decode(text, type=dict[str, Raw]))) > MAX_TRAITS:
        raise ApiError(
            ErrorCode.EVENT_TOO_LARGE,
            f"`{name}` has {count} members; at most {MAX_TRAITS} are taken. Send some of them in another message.",
            field=name,
        )
    return Raw(first_of_each_name(bytes(value)))


def _time_of(message: Identify | Group | GroupTraits, now: datetime, warnings: list[str]) -> datetime:
    time, original = resolve_time(read_time(message.timestamp), now)
    if original:
        warnings.append(f"timestamp is more than 1 h ahead ({original}): the receive time is used")
    return time


def _intake(
    message: Identify | Alias | Group | GroupTraits, header_key: str | None, warnings: list[str], line: IdentityLine
) -> IdentityIntake:
    key = message.idempotency_key or header_key
    event_id = fresh_ids(1)[0] if key is None else id_of_key(line.project_id, key, _KINDS[type(message)])
    line.event_id = event_id.hex()
    line.idempotency_key = key or ""
    return IdentityIntake([event_id], [line], warnings)


def _add_merge(intake: IdentityIntake, old_id: str, new_id: str) -> None:
    """A line of its own for the merge of a message that links as well; its id follows from the message's."""
    event_id = id_of_merge(intake.ids[0])
    first = intake.lines[0]
    intake.ids.append(event_id)
    intake.lines.append(
        IdentityLine(
            project_id=first.project_id,
            event_id=event_id.hex(),
            kind="alias",
            distinct_id=new_id,
            timestamp=first.timestamp,
            received_at=first.received_at,
            old_id=old_id,
            idempotency_key=first.idempotency_key,
        )
    )


def _decode(body: bytes, kind: type[M]) -> tuple[M, list[str]]:
    """The message, and warnings about fields that it does not have."""
    if len(body) > MAX_EVENT_BYTES:
        raise ApiError(
            ErrorCode.EVENT_TOO_LARGE, f"The message has {len(body)} bytes; at most {MAX_EVENT_BYTES} are taken."
        )
    fields = read_fields(plain_text(body), frozenset(kind.__struct_fields__), MAX_UNKNOWN)
    placeholder = drop_placeholder_key(fields)
    try:
        message = msgspec.json.decode(fields.encode(), type=kind)
    except msgspec.ValidationError as error:
        raise invalid_message(error) from error
    for name in kind.__struct_fields__:
        value = getattr(message, name)
        if isinstance(value, str):
            refuse_nul(value, name)
    warnings = [f"unknown field `{name[:100]}` ignored" for name in fields.unknown]
    if placeholder is not None:
        warnings.append(placeholder_warning(placeholder))
    if fields.replaced:
        warnings.append(HALVES_REPLACED.format(place=""))
    return message, warnings


def _refuse_placeholder(value: str | None, name: str) -> None:
    if value is not None and is_placeholder_id(value):
        raise ApiError(
            ErrorCode.ILLEGAL_ID,
            f"`{name}` is the placeholder `{value[:50]}`: merging it would make one person of many. Send a real id.",
            field=name,
        )
