"""The ingest calls' bodies and answers. These types validate, and the OpenAPI document is generated from them."""

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

MAX_EVENT_NAME_CHARS = 200
MAX_ID_CHARS = 512
MAX_IDEMPOTENCY_KEY_CHARS = 256
MAX_BATCH_EVENTS = 1000
MAX_EVENT_BYTES = 512 * 1024
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_NESTING_LEVELS = 32
# Of `traits`, and of `set_once`: a person keeps them, and every answer about the person has them.
MAX_TRAITS = 1000
MAX_TRAITS_BYTES = 64 * 1024

EventName = Annotated[
    str, Meta(min_length=1, max_length=MAX_EVENT_NAME_CHARS, description="Event name.", examples=["checkout_completed"])
]
Id = Annotated[
    str, Meta(min_length=1, max_length=MAX_ID_CHARS, description="Stable id of the acting user.", examples=["user_42"])
]
GroupType = Annotated[str, Meta(min_length=1, max_length=MAX_EVENT_NAME_CHARS, examples=["company"])]
IdempotencyKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_IDEMPOTENCY_KEY_CHARS,
        description="Any number of submissions with the same key take effect once.",
    ),
]
# Kept as the bytes that came (absent is an empty Raw): the decoder would round what services/edge/intake/timestamps.py
# cuts.
Timestamp = Annotated[
    Raw,
    Meta(
        description="ISO 8601 (without offset: UTC) or Unix epoch in seconds, milliseconds, microseconds or nanoseconds, by "
        "its size. What is finer than a microsecond is cut. Absent: receive time.",
        examples=["2026-11-20T12:34:56.789Z", 1795178096789],
        extra_json_schema={"type": ["string", "number", "null"]},
    ),
]
# Kept as the bytes that came: decoded by nobody on the way in. Absent is an empty Raw; null counts as absent.
JsonObject = Annotated[Raw, Meta(description="Any JSON object.", extra_json_schema={"type": ["object", "null"]})]

Traits = Annotated[
    Raw,
    Meta(
        description="Sets each trait; null removes it. At most 1000 in a message, of at most 65536 bytes.",
        extra_json_schema={"type": ["object", "null"]},
    ),
]
SetOnce = Annotated[
    Raw,
    Meta(
        description="Sets each trait that there is none of. At most as many as `traits`.",
        extra_json_schema={"type": ["object", "null"]},
    ),
]


# forbid_unknown_fields lets a clean message be taken in one pass; a message that fails is looked at again, field
# by field, and unknown fields then become warnings (services/edge/intake/second_pass.py).
class TrackEvent(Struct, forbid_unknown_fields=True, gc=False):
    """One product analytics event."""

    event: EventName
    distinct_id: Id
    properties: JsonObject = field(default_factory=Raw)
    timestamp: Timestamp = field(default_factory=Raw)
    idempotency_key: IdempotencyKey | None = None


class Batch(Struct, forbid_unknown_fields=True):
    """Up to 1000 events, each with an idempotency key of its own."""

    events: Annotated[list[TrackEvent], Meta(max_length=MAX_BATCH_EVENTS)]


class Identify(Struct, forbid_unknown_fields=True):
    """Traits of a distinct id, or of the user it belongs to; and optionally a prior id to merge into it."""

    distinct_id: Id
    user_id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_ID_CHARS,
                description="The user that `distinct_id` belongs to: both become one person, unless `distinct_id` belongs "
                "to another user already. The traits are this user's.",
            ),
        ]
        | None
    ) = None
    traits: Traits = field(default_factory=Raw)
    set_once: SetOnce = field(default_factory=Raw)
    alias_for: (
        Annotated[
            str,
            Meta(min_length=1, max_length=MAX_ID_CHARS, description="A prior id, merged into `distinct_id` for good."),
        ]
        | None
    ) = None
    timestamp: Timestamp = field(default_factory=Raw)
    idempotency_key: IdempotencyKey | None = None


class Alias(Struct, forbid_unknown_fields=True):
    """Merge `old_id` into the person of `new_id`."""

    old_id: Id
    new_id: Id
    idempotency_key: IdempotencyKey | None = None


class Group(Struct, forbid_unknown_fields=True):
    """Put a distinct id into a group from `timestamp` on, and optionally describe the group."""

    distinct_id: Id
    group_type: GroupType
    group_key: Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
    traits: Traits = field(default_factory=Raw)
    set_once: SetOnce = field(default_factory=Raw)
    timestamp: Timestamp = field(default_factory=Raw)
    idempotency_key: IdempotencyKey | None = None


class RejectedEvent(Struct, frozen=True):
    """One event of a batch that was not taken; the other events of the batch were."""

    index: int
    code: str
    message: str
    field: str | UnsetType = UNSET


class Accepted(Struct, kw_only=True):
    """`accepted` events are in the event log, acknowledged by all in-sync replicas. `ok`: none was rejected."""

    ok: bool
    accepted: int
    errors: list[RejectedEvent] | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET


class Done(Struct, kw_only=True):
    """The message is in the event log."""

    ok: bool = True
    warnings: list[str] | UnsetType = UNSET


class AliasResult(Struct, kw_only=True):
    """`merged` is false when both ids are the same one."""

    merged: bool
    warnings: list[str] | UnsetType = UNSET
