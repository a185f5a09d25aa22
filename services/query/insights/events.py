"""The events query: single events in order of (timestamp, receipt, event id), a page at a time."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from services.contract.api.events import MAX_PAGE_EVENTS, EventsQuery, EventsResult, StoredEvent
from services.contract.repeated_names import readable_object
from services.query.execution.executor import QueryExecutor
from services.query.request.cohorts import Rule, as_said, parse_cohort
from services.query.request.cursor import Position, binding, read_cursor, write_cursor
from services.query.request.filters import Condition, parse_filter
from services.query.request.relative_windows import WordedEvents
from services.query.request.time_window import DAY_US, EARLIEST_US, LATEST_US, UTC_ZONE, TimeWindow, window_of
from services.query.sql.cohorts import in_cohort
from services.query.sql.conditions import conditions_sql, joins_of
from services.query.sql.events import (
    EVENTS_ONCE,
    EVENTS_WITH_DUPLICATES,
    IN_WINDOW,
    SHOWN,
    in_window,
    window_parameters,
)
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.persons import people_of_rows, rows_of_page
from services.runtime.clock import utc_time

_COLUMNS = (
    "toString(e.event_id), e.event, e.distinct_id, toUnixTimestamp64Micro(e.timestamp), "
    "toUnixTimestamp64Micro(e.received_at), e.properties, e.idempotency_key, e.original_timestamp, e.distinct_hash"
)

# A page reads one day, which is too little for ClickHouse to share it among cores by itself.
_SHARED_READING = (
    "SETTINGS merge_tree_min_rows_for_concurrent_read = 8192, merge_tree_min_bytes_for_concurrent_read = 1048576, "
    "merge_tree_min_read_task_size = 1"
)


# A page ends early when it has so many bytes. Of an event these are its properties, and more than the rest can be.
_MAX_PAGE_BYTES = 8 * 1024 * 1024
# Of what a live stream sends at once. Many streams may be open, and each holds its part until its client has read it.
_MAX_LIVE_BYTES = 4 * 1024 * 1024
_BYTES = "(length(e.properties) + 6 * (length(e.event) + 2 * length(e.distinct_id) + length(e.idempotency_key)) + 400)"


class EventsSpec(Struct, frozen=True):
    """`after`: the last event of the page before. One without its receipt was given out by a version that did not order by
    it: the walk that it belongs to goes on as it began. `words`: of a window that was said in words, which a walk is bound to
    in the place of its times: these go on."""

    window: TimeWindow
    conditions: list[Condition]
    limit: int
    descending: bool
    after: Position | None
    cohort: Rule | None = None
    words: tuple[object, ...] = ()

    @property
    def can_be_bounded(self) -> bool:
        """Whether a look at the times before the page costs little: no condition reads properties or people."""
        return self.cohort is None and all(c.is_field and not c.needs_persons for c in self.conditions)

    @property
    def by_receipt(self) -> bool:
        return self.after is None or self.after.received_us is not None

    def identity(self, project_id: str) -> bytes:
        """What a cursor is bound to."""
        ordered = sorted(repr((c.key, c.operator, c.operand)) for c in self.conditions)
        window = self.words or (self.window.since_us, self.window.until_us)
        return binding(project_id, window, ordered, as_said(self.cohort), self.descending)


def parse_events(query: EventsQuery, project_id: str) -> EventsSpec:
    window = window_of(query)
    conditions, descending = parse_filter(query.filter), query.order == "desc"
    cohort = None if query.cohort is None else parse_cohort(query.cohort)
    words = query.words if isinstance(query, WordedEvents) else ()
    spec = EventsSpec(window, conditions, query.limit or MAX_PAGE_EVENTS, descending, None, cohort, words)
    if query.cursor is None:
        return spec
    return msgspec.structs.replace(spec, after=read_cursor(query.cursor, spec.identity(project_id)))


async def run_events(store: QueryExecutor, project_id: str, spec: EventsSpec, promoted: Promoted) -> EventsResult:
    # On a cluster, of one shard: it has the times at hand, and no page needs more rows than are as late as its last.
    times_of = store.own_events if spec.can_be_bounded else None
    rows = await store.rows(*events_sql(project_id, spec, promoted, times_of))
    if times_of is not None and rows and rows[0][10] <= spec.limit and rows[0][9]:
        # Rows that are stored twice were counted twice.
        rows = await store.rows(*events_sql(project_id, spec, promoted, None))
    page = rows[: spec.limit]
    # After the page: only its own ids are looked up, however many were ever merged.
    people: dict[int, str] = {}
    if page:
        asked = {row[8] for row in page}
        people = people_of_rows(await store.rows(*people_sql(project_id, asked)))
    result = EventsResult(events=[_event(row, people) for row in page])
    if page and page[0][10] > len(page):
        last = page[-1]
        received_us = last[4] if spec.by_receipt else None
        result.next_cursor = write_cursor(
            Position(last[3], uuid.UUID(last[0]).bytes, received_us), spec.identity(project_id)
        )
    return result


def events_sql(
    project_id: str, spec: EventsSpec, promoted: Promoted, times_of: str | None
) -> tuple[str, dict[str, Any]]:
    """At most as many rows as the limit and bytes as a page may have. The last columns: whether a bound was set, and how many
    rows there are; one more than the limit says that there is a next page.

    `times_of`: a table of which so many times are looked up first, in the day where the page begins, and only rows up to the
    last of them are read in full. Part of the events will do. Should a row that is stored twice be among them, rows are
    missing at the end of the page.
    """
    named = Parameters("f", promoted)
    where = conditions_sql(spec.conditions, named) + in_cohort(spec.cohort, named)
    joins = joins_of(spec.conditions, named, persons=spec.cohort is not None)
    parameters = {**window_parameters(project_id, spec.window), **named.values, "limit": spec.limit + 1}
    direction = "DESC" if spec.descending else "ASC"
    if spec.after is not None:
        where += _after(spec.after, spec.descending, parameters)
    given, in_bound, is_bounded = "", "", "false"
    if times_of is not None:
        given = f"WITH ({_bound(times_of, where, spec.descending)}) AS bound "
        in_bound = f" AND (NOT bound.1 OR e.timestamp {'>=' if spec.descending else '<='} bound.2)"
        is_bounded = "bound.1"
    # The days first: the table is sorted by them, so that reading stops at the day that fills the page. A UUID
    # sorts by its second half first, the number made of it does not.
    receipt = f", e.received_at {direction}" if spec.by_receipt else ""
    order = f"toDate(e.timestamp) {direction}, e.timestamp {direction}{receipt}, toUInt128(e.event_id) {direction}"
    place = f"({'e.timestamp, e.received_at' if spec.by_receipt else 'e.timestamp'}, toUInt128(e.event_id))"
    found = (
        f"{given}SELECT {_COLUMNS}, {is_bounded} AS bounded, {place} AS place, {_BYTES} AS bytes FROM {EVENTS_ONCE} {joins} "
        f"WHERE {IN_WINDOW}{where}{in_bound} ORDER BY {order} LIMIT {{limit:UInt32}}"
    )
    return f"{_within(found, direction, _MAX_PAGE_BYTES)} {_SHARED_READING}", parameters


def _within(found: str, direction: str, max_bytes: int) -> str:
    """Of rows with `place` and `bytes` the first ones that have so many bytes, one at least, with the number of all."""
    so_far = f"sum(bytes) OVER (ORDER BY place {direction} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    return (
        f"SELECT * EXCEPT (place, bytes, so_far) FROM (SELECT *, count() OVER () AS in_all, {so_far} AS so_far "
        f"FROM ({found})) WHERE so_far <= {max_bytes:d} OR so_far = bytes ORDER BY place {direction}"
    )


def _bound(times_of: str, where: str, descending: bool) -> str:
    """One row: whether the table has a page's events in the first day, and the time of the last of these."""
    if descending:
        # A window may end in the future, where nothing is.
        end = "least({until:Int64}, toUnixTimestamp64Micro(now64(6, 'UTC')))"
        day = in_window(f"greatest({{since:Int64}}, {end} - {DAY_US:d})", "{until:Int64}")
    else:
        day = in_window("{since:Int64}", f"least({{until:Int64}}, {{since:Int64}} + {DAY_US:d})")
    direction, last = ("DESC", "min") if descending else ("ASC", "max")
    times = (
        f"SELECT e.timestamp AS time FROM {times_of} AS e WHERE {day}{where} "
        f"ORDER BY time {direction} LIMIT {{limit:UInt32}}"
    )
    return f"SELECT (count() = {{limit:UInt32}}, {last}(time)) FROM ({times})"


async def find_event(
    store: QueryExecutor, project_id: str, event_id: uuid.UUID, at_us: int | None
) -> StoredEvent | None:
    """`at_us`: its timestamp, where it is known: then it is looked for on that day alone."""
    rows = await store.rows(*event_sql(project_id, event_id, at_us))
    if not rows:
        return None
    people = people_of_rows(await store.rows(*people_sql(project_id, [rows[0][8]])))
    return _event(rows[0], people)


def event_sql(project_id: str, event_id: uuid.UUID, at_us: int | None) -> tuple[str, dict[str, Any]]:
    """At most one row; the last column says nothing."""
    window = TimeWindow(EARLIEST_US if at_us is None else at_us, LATEST_US if at_us is None else at_us + 1, UTC_ZONE)
    return (
        f"SELECT {_COLUMNS}, false FROM {EVENTS_WITH_DUPLICATES} WHERE {IN_WINDOW} AND e.event_id = {{id:UUID}} LIMIT 1",
        {**window_parameters(project_id, window), "id": event_id},
    )


async def stored_since(
    store: QueryExecutor,
    project_id: str,
    since_us: int,
    conditions: Sequence[Condition],
    limit: int,
    promoted: Promoted,
    without: Sequence[str] = (),
) -> tuple[list[tuple[int, StoredEvent]], bool]:
    """With the times of their receipt, of which the last so many come, in that order, and of these so many bytes; and whether
    there are more. `without`: ids of events."""
    rows = await store.rows(*live_sql(project_id, since_us, conditions, limit + 1, promoted, without))
    page = rows[:limit]
    people = people_of_rows(await store.rows(*people_sql(project_id, {row[8] for row in page}))) if page else {}
    return [(row[4], _event(row, people)) for row in reversed(page)], bool(page) and page[0][10] > len(page)


def live_sql(
    project_id: str,
    since_us: int,
    conditions: Sequence[Condition],
    limit: int,
    promoted: Promoted,
    without: Sequence[str] = (),
) -> tuple[str, dict[str, Any]]:
    """The last rows first; the last column says how many there are, at most the limit: those that are missing would be too
    many bytes."""
    named = Parameters("f", promoted)
    where = conditions_sql(conditions, named)
    joins = joins_of(conditions, named)
    # One text: an array of 20,000 takes twice as long to read.
    found = (
        f"SELECT {_COLUMNS}, false, (e.received_at, toUInt128(e.event_id)) AS place, {_BYTES} AS bytes "
        f"FROM {EVENTS_WITH_DUPLICATES} {joins} WHERE e.project_id = {{project:String}} "
        f"AND e.received_at >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') AND {SHOWN}{where} "
        "AND e.event_id NOT IN (SELECT toUUIDOrZero(arrayJoin(splitByChar(',', {without:String})))) "
        "ORDER BY e.received_at DESC, toUInt128(e.event_id) DESC LIMIT 1 BY e.event_id LIMIT {limit:UInt32}"
    )
    parameters = {"project": project_id, "since": since_us, "limit": limit, "without": ",".join(without)}
    return _within(found, "DESC", _MAX_LIVE_BYTES), {**parameters, **named.values}


def people_sql(project_id: str, distinct_hashes: Iterable[int]) -> tuple[str, dict[str, Any]]:
    """Rows for `people_of_rows`."""
    return rows_of_page("{ids:Array(UInt64)}"), {"project": project_id, "ids": sorted(distinct_hashes)}


def _after(position: Position, descending: bool, parameters: dict[str, Any]) -> str:
    """The position narrows the window; among events of its very time the receipt decides, then the id."""
    if descending:
        parameters["until"] = position.time_us + 1
    else:
        parameters["since"] = position.time_us
    parameters["after"] = position.time_us
    parameters["after_id"] = uuid.UUID(bytes=position.id)
    beyond = "<" if descending else ">"
    place, last = "toUInt128(e.event_id)", "toUInt128({after_id:UUID})"
    if position.received_us is not None:
        parameters["after_receipt"] = position.received_us
        place, last = f"(toUnixTimestamp64Micro(e.received_at), {place})", f"({{after_receipt:Int64}}, {last})"
    return f" AND (e.timestamp != fromUnixTimestamp64Micro({{after:Int64}}, 'UTC') OR {place} {beyond} {last})"


def _event(row: Sequence[Any], people: Mapping[int, str]) -> StoredEvent:
    event_id, event, distinct_id, time_us, received_us, properties, key, original, distinct_hash, *_ = row
    return StoredEvent(
        event_id=event_id,
        event=event,
        distinct_id=distinct_id,
        person_id=people.get(distinct_hash, distinct_id),
        timestamp=utc_time(time_us),
        received_at=utc_time(received_us),
        properties=Raw(readable_object(properties.encode())),
        idempotency_key=key or None,
        original_timestamp=original or UNSET,
    )
