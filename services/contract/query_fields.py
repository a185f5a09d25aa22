"""Fields that several query calls have in common: times, intervals, filters, names, numbers of people."""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct, field

from services.contract.messages import MAX_EVENT_NAME_CHARS

MAX_TITLE_CHARS = 200

EventName = Annotated[
    str, Meta(min_length=1, max_length=MAX_EVENT_NAME_CHARS, description="Event name.", examples=["checkout_completed"])
]
Since = Annotated[
    str | int | float,
    Meta(
        description="First moment of the window. ISO 8601 (a date alone is its first moment; without offset: in "
        "`timezone`) or Unix epoch in seconds or milliseconds.",
        examples=["2026-11-01", "2026-11-01T00:00:00Z", 1793491200],
    ),
]
Until = Annotated[
    str | int | float,
    Meta(
        description="End of the window, itself outside; same forms as `since`.",
        examples=["2026-12-01", "2026-12-01T00:00:00Z", 1796083200],
    ),
]
Timezone = Annotated[
    str, Meta(max_length=64, description="IANA name: where days, weeks and months begin.", examples=["Europe/Berlin"])
]
Interval = Literal["hour", "day", "week", "month"]
Order = Literal["asc", "desc"]
# Kept as the bytes that came; services/query/filters.py reads it.
Filter = Annotated[
    Raw,
    Meta(
        description="Conditions that must all hold. Keys: `event`, `distinct_id`, `person_id`, `person.<trait>`, "
        "`group.<type>` (the group's key), `group.<type>.<trait>`, or a property name (dots go into nested objects). A "
        "value matches by type and equality, a list by any of its members, an object "
        "`{operator: operand}` by eq, ne, in, not_in, gt, gte, lt, lte, exists, contains.",
        examples=[{"event": "checkout_completed", "amount": {"gte": 10}, "plan": ["pro", "team"]}],
        extra_json_schema={"type": ["object", "null"]},
    ),
]
AggregateBy = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_EVENT_NAME_CHARS,
        description="Type of group: groups are counted instead of people, whoever has none is left out; default: people.",
        examples=["company"],
    ),
]
Cursor = Annotated[str, Meta(max_length=256, description="`next_cursor` of the previous page of the same question.")]
Title = Annotated[str, Meta(max_length=MAX_TITLE_CHARS, description="What a reader sees above the answer.")]
Warnings = Annotated[list[str], Meta(description="What was ignored, and why.")]
People = Annotated[int, Meta(ge=0, description="Number of people: ids that were merged count once.")]


class ScopedQuery(Struct, kw_only=True):
    """Which events count, and who is counted: the same in every question that counts."""

    filter: Filter = field(default_factory=Raw)
    aggregate_by: AggregateBy | None = None
