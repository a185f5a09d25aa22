"""Fields that several query calls have in common: times, intervals, filters, names, numbers of people."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from services.contract.api.ingest import MAX_EVENT_NAME_CHARS, EventName

MAX_TITLE_CHARS = 200
MAX_COHORT_RULES = 20
MAX_BREAKDOWN_TOP = 100
MAX_BREAKDOWN_CHARS = 1000
MAX_EVENT_NAMES = 100
MAX_COHORT_NAME_CHARS = 200

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
Last = Annotated[
    str,
    Meta(
        description="The last so many whole hours (`h`), days (`d`), weeks (`w`) or months (`mo`, `months`) of the time zone, and "
        "the current one up to its hour or day: `7d` begins with the midnight seven days before today's.",
        examples=["30d", "24h", "3months"],
        # Not checked here: whoever reads it says what is wrong with it in words.
        extra_json_schema={"pattern": r"^[1-9][0-9]{0,3}(h|d|w|mo|months?)$"},
    ),
]
CalendarUnit = Literal["day", "week", "month", "quarter", "year"]
This = Annotated[
    CalendarUnit, Meta(description="The current day, week, month, quarter or year of the time zone, up to today.")
]
Previous = Annotated[CalendarUnit, Meta(description="The one before the current one, whole.")]
WholePeriods = Annotated[
    bool,
    Meta(
        description="Leaves out what has not ended: the window ends with the last whole `interval`; in queries without one, with "
        "the last whole day (of `last` in hours: hour). Default false."
    ),
]
Compare = Annotated[
    Literal["previous"],
    Meta(
        description="Answers the window before as well, in `previous`: of the same length, so many days or months earlier that "
        "the two follow each other. Of a window that goes up to today, as far as this one goes."
    ),
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
TILE_COLUMNS = 12
TileWidth = Annotated[
    int,
    Meta(
        ge=1,
        le=TILE_COLUMNS,
        description="How many of twelve columns its tile takes on a page; default 6. Nothing else depends on it.",
    ),
]
Warnings = Annotated[list[str], Meta(description="What was ignored, and why.")]
Partial = Annotated[
    bool,
    Meta(
        description="True: a part of the store did not answer, and its events are missing. Only where the operator allows that "
        "(`HEADRACE_QUERY_SKIP_UNAVAILABLE_SHARDS`); else such a query is answered 503."
    ),
]
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
    Meta(
        description="`missing`: no such property or group; `other`: all values beyond `top`, long ones, and "
        "arrays and objects that a reader may take for another value."
    ),
]
BreakdownValue = Annotated[Raw, Meta(description="The property's value, of any type.", extra_json_schema={})]


# One name, any of several, or null: any event at all. The field itself must be there.
EventNames = (
    Annotated[
        EventName,
        Meta(description="Event name; a list: any of them; null: any event.", examples=["checkout_completed"]),
    ]
    | Annotated[list[EventName], Meta(min_length=1, max_length=MAX_EVENT_NAMES, examples=[["signup", "login"]])]
    | None
)
CohortName = Annotated[str, Meta(min_length=1, max_length=MAX_COHORT_NAME_CHARS, examples=["power users"])]
_TIMES = "Number of such events in the time window."
Times = Annotated[int, Meta(ge=0, le=1_000_000, description=_TIMES)]


class Cohort(Struct, kw_only=True, rename={"all_of": "and", "any_of": "or", "none_of": "not"}):
    """People, by exactly one of `and`, `or`, `not` (other cohorts), `did`, `did_not` (an event), `traits`, `saved` (by its name).

    `did` and `did_not` take a window (`since` and `until`, or `last`, `this`, `previous`), `timezone` and `filter`; `did` also
    one of `at_least` (default 1), `at_most` (from never on) and `exactly`.
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
    saved: Annotated[CohortName, Meta(description="The name of a saved cohort.")] | None = None
    since: Since | None = None
    until: Until | None = None
    timezone: Timezone | None = None
    last: Last | None = None
    this: This | None = None
    previous: Previous | None = None
    whole_periods: WholePeriods | None = None
    filter: Filter = field(default_factory=Raw)
    at_least: Annotated[int, Meta(ge=1, le=1_000_000, description=_TIMES)] | None = None  # 0 times: everybody
    at_most: Times | None = None
    exactly: Times | None = None


class Window(Struct, kw_only=True):
    """The time window that the answer is about: `since` inside, `until` outside."""

    since: datetime
    until: datetime


class WindowedResult(Struct, kw_only=True):
    """`window`: where the query said it in other words than `since` and `until`, or asked to compare."""

    window: Window | UnsetType = UNSET


class WindowedQuery(Struct, kw_only=True):
    """When: `since` and `until`, or one of `last`, `this` and `previous`."""

    since: Since | None = None
    until: Until | None = None
    timezone: Timezone | None = None
    last: Last | None = None
    this: This | None = None
    previous: Previous | None = None
    whole_periods: WholePeriods | None = None
    compare: Compare | None = None


class FilteredQuery(WindowedQuery, kw_only=True):
    """Which events count: those of the window that the filter takes, of the people in the cohort."""

    filter: Filter = field(default_factory=Raw)
    cohort: Cohort | None = None


class SegmentedQuery(FilteredQuery, kw_only=True):
    """Which events count, and who is counted: the same in every query that counts."""

    aggregate_by: AggregateBy | None = None
