"""Fields that several query calls have in common: times, intervals, filters, names, numbers of people."""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct, field

from services.contract.api.ingest import MAX_EVENT_NAME_CHARS, EventName

MAX_TITLE_CHARS = 200
MAX_COHORT_RULES = 20
MAX_BREAKDOWN_TOP = 100
MAX_BREAKDOWN_CHARS = 1000

Since = Annotated[
    str | int | float,
    Meta(
        description="First moment of the time window. ISO 8601 (a date alone is its first moment; without offset: in "
        "`timezone`) or Unix epoch in seconds, milliseconds, microseconds or nanoseconds.",
        examples=["2026-11-01", "2026-11-01T00:00:00Z", 1793491200],
    ),
]
Until = Annotated[
    str | int | float,
    Meta(
        description="End of the time window, itself outside; same forms as `since`.",
        examples=["2026-12-01", "2026-12-01T00:00:00Z", 1796083200],
    ),
]
Timezone = Annotated[
    str, Meta(max_length=64, description="IANA name: where days, weeks and months begin.", examples=["Europe/Berlin"])
]
Interval = Literal["hour", "day", "week", "month"]
Order = Literal["asc", "desc"]
WeekStart = Annotated[Literal["monday", "sunday"], Meta(description="First day of a week; default monday.")]
# Kept as the bytes that came; services/query/request/filters.py reads it.
Filter = Annotated[
    Raw,
    Meta(
        description="Conditions that must all hold. Keys: `event`, `distinct_id`, `person_id`, `event_id`, `timestamp`, "
        "`received_at`, `person.<trait>`, `group.<type>` (the key of the event's group: its own `$groups`, else its "
        "person's at the event's time), `group.<type>.<trait>` (its current value), or a property name (dots go into "
        "nested objects); `properties.<name>` is a property, whatever its name. A value matches by type and equality, a "
        "list by any of its members, an object `{operator: operand}` by eq, ne, in, not_in, gt, gte, lt, lte, exists, "
        "contains.",
        examples=[{"event": "checkout_completed", "amount": {"gte": 10}, "plan": ["pro", "team"]}],
        extra_json_schema={"type": ["object", "null"]},
    ),
]
AggregateBy = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_EVENT_NAME_CHARS,
        description="Type of group: groups are counted instead of people. An event counts for its group (its own `$groups`, "
        "else its person's at the event's time); events without one are left out. Default: people.",
        examples=["company"],
    ),
]
Cursor = Annotated[str, Meta(max_length=256, description="`next_cursor` of the previous page of the same query.")]
Title = Annotated[str, Meta(max_length=MAX_TITLE_CHARS, description="What a reader sees above the answer.")]
Warnings = Annotated[list[str], Meta(description="What was ignored, and why.")]
Complete = Annotated[
    list[bool], Meta(description="Which of `periods` had ended when this was answered: the others will still grow.")
]
People = Annotated[int, Meta(ge=0, description="Number of people: ids that were merged count once.")]
Breakdown = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_EVENT_NAME_CHARS,
        description="Property to break down by (dots go into nested objects), or `group.<type>`: the key of the event's "
        "group (its own `$groups`, else its person's at the event's time).",
        examples=["plan", "group.company"],
    ),
]
BreakdownTop = Annotated[
    int, Meta(ge=1, le=MAX_BREAKDOWN_TOP, description="Values of the breakdown, the rest is `other`; default 10.")
]
BreakdownKind = Annotated[
    Literal["value", "missing", "other"],
    Meta(description="`missing`: no such property or group; `other`: all values beyond `top`, and long ones."),
]
BreakdownValue = Annotated[Raw, Meta(description="The property's value, of any type.", extra_json_schema={})]


Times = Annotated[int, Meta(ge=0, le=1_000_000, description="Number of such events in the time window.")]


class Cohort(Struct, kw_only=True, rename={"all_of": "and", "any_of": "or", "none_of": "not"}):
    """People, by exactly one of `and`, `or`, `not` (other cohorts), `did`, `did_not` (an event), `traits`.

    `did` and `did_not` take `since`, `until`, `timezone` and `filter`; `did` also one of `at_least` (default 1),
    `at_most` (from never on) and `exactly`.
    """

    all_of: Annotated[list["Cohort"], Meta(min_length=1, max_length=MAX_COHORT_RULES)] | None = None
    any_of: Annotated[list["Cohort"], Meta(min_length=1, max_length=MAX_COHORT_RULES)] | None = None
    none_of: "Cohort | None" = None
    did: EventName | None = None
    did_not: EventName | None = None
    traits: Annotated[
        Raw,
        Meta(
            description="A filter whose keys are `person.<trait>`, `group.<type>` and `group.<type>.<trait>`. The group is the one "
            "that the person was put into last.",
            examples=[{"person.plan": "pro"}],
            extra_json_schema={"type": ["object", "null"]},
        ),
    ] = field(default_factory=Raw)
    since: Since | None = None
    until: Until | None = None
    timezone: Timezone | None = None
    filter: Filter = field(default_factory=Raw)
    at_least: Times | None = None
    at_most: Times | None = None
    exactly: Times | None = None


class FilteredQuery(Struct, kw_only=True):
    """Which events count: those that the filter takes, of the people in the cohort."""

    filter: Filter = field(default_factory=Raw)
    cohort: Cohort | None = None


class SegmentedQuery(FilteredQuery, kw_only=True):
    """Which events count, and who is counted: the same in every query that counts."""

    aggregate_by: AggregateBy | None = None
