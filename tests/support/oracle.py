"""Answers by brute force in plain Python, for comparison with the query service. Knows nothing of its SQL or code."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """Times are aware, `properties` JSON text. `received`: when, if not at its `time`."""

    event_id: str
    event: str
    distinct_id: str
    time: datetime
    properties: str = "{}"
    received: datetime | None = None

    @property
    def order(self) -> tuple[datetime, datetime, int]:
        return moment(self.time, self.received, self.event_id)


def moment(time: datetime, received: datetime | None, event_id: str) -> tuple[datetime, datetime, int]:
    return time, received or time, int(event_id.replace("-", ""), 16)


@dataclass(frozen=True)
class History:
    """One project: its events, and which id (of those that were merged) is which person.

    `unit_of`: what is counted instead of people, by event id.
    """

    events: Sequence[Event]
    person_of: Mapping[str, str] = field(default_factory=dict)
    unit_of: Mapping[str, str] | None = field(default=None, kw_only=True)

    def person(self, event: Event) -> str:
        if self.unit_of is not None:
            return self.unit_of[event.event_id]
        return self.person_of.get(event.distinct_id, event.distinct_id)

    def within(self, since: datetime, until: datetime) -> list[Event]:
        """In order of time, ties by receipt, then by event id."""
        return sorted((e for e in self.events if since <= e.time < until), key=lambda e: e.order)


def events(
    history: History, since: datetime, until: datetime, conditions: Mapping[str, Any] | None = None, order: str = "asc"
) -> list[str]:
    """The ids of the events asked for, in order."""
    found = [e.event_id for e in history.within(since, until) if all_hold(history, e, conditions or {})]
    return found[::-1] if order == "desc" else found


MISSING = object()
# What a query says of an event's name: one, several, or None for any.
Names = str | list[str] | None


def is_named(event: Event, names: Names) -> bool:
    return names is None or event.event == names or (isinstance(names, list) and event.event in names)


def all_hold(history: History, event: Event, conditions: Mapping[str, Any]) -> bool:
    for key, condition in conditions.items():
        if key == "person_id":
            value: Any = history.person(event)
        elif key in ("event", "distinct_id", "event_id"):
            value = getattr(event, key)
        elif key == "timestamp":
            value, condition = _microseconds(event.time), _of_times(condition)
        elif key == "received_at":
            value, condition = _microseconds(event.received or event.time), _of_times(condition)
        else:
            value = property_of(json.loads(event.properties), key.removeprefix("properties."))
        if not isinstance(condition, dict):
            condition = {"in" if isinstance(condition, list) else "eq": condition}
        if not all(holds(value, operator, operand) for operator, operand in condition.items()):
            return False
    return True


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _of_times(condition: Any) -> Any:
    if isinstance(condition, dict):
        return {
            operator: operand if operator == "exists" else _of_times(operand) for operator, operand in condition.items()
        }
    if isinstance(condition, list):
        return [_of_times(member) for member in condition]
    return _microseconds(datetime.fromisoformat(condition))


def property_of(properties: dict[str, Any], key: str) -> Any:
    if key in properties:
        return properties[key]
    value: Any = properties
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, int | float) and isinstance(other, int | float):
        return value == other
    return type(value) is type(other) and not isinstance(value, dict | list) and bool(value == other)


def holds(value: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "eq":
            return _same(value, operand)
        case "ne":
            return not _same(value, operand)
        case "in":
            return any(_same(value, member) for member in operand)
        case "not_in":
            return not any(_same(value, member) for member in operand)
        case "exists":
            return (value is not MISSING) is operand
        case "contains":
            if isinstance(value, list):
                return any(_same(member, operand) for member in value)
            return isinstance(value, str) and isinstance(operand, str) and operand in value
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (value, operand))
    if not numbers and not (isinstance(value, str) and isinstance(operand, str)):
        return False
    return bool(
        {
            "gt": value > operand,
            "gte": value >= operand,
            "lt": value < operand,
            "lte": value <= operand,
        }[operator]
    )


def retention(
    history: History, born: str, back: str, since: datetime, until: datetime, interval: str, zone: ZoneInfo
) -> list[list[int]]:
    """By labels of the local calendar; a day that a zone left out is none."""
    labels = labels_of(since, until, interval, zone)
    cohort: dict[str, int] = {}
    returned: dict[str, set[int]] = {}
    for event in history.within(since, until):
        person, period = history.person(event), labels.index(label_of(event.time, since, interval, zone))
        if event.event == born:
            cohort.setdefault(person, period)
        if event.event == back:
            returned.setdefault(person, set()).add(period)
    return [
        [
            sum(1 for person, began in cohort.items() if began == i and (j == i or j in returned.get(person, ())))
            for j in range(i, len(labels))
        ]
        for i in range(len(labels))
    ]


def label_of(
    time: datetime, since: datetime, interval: str, zone: ZoneInfo, ahead: timedelta = timedelta(0)
) -> date | int:
    """`ahead`: how far the calendar that is used runs ahead of the local one."""
    if interval == "hour":
        local = since.astimezone(zone)
        past_the_hour = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return (time - (since - past_the_hour)) // timedelta(hours=1)
    day = time.astimezone(zone).date() + ahead
    if interval == "week":
        return day - timedelta(days=day.isoweekday() - 1)
    return day.replace(day=1) if interval == "month" else day


def labels_of(
    since: datetime, until: datetime, interval: str, zone: ZoneInfo, ahead: timedelta = timedelta(0)
) -> list[date | int]:
    """Of all moments, a quarter of an hour apart: every period is longer than that."""
    labels: dict[date | int, None] = {}
    time = since
    while time < until:
        labels[label_of(time, since, interval, zone, ahead)] = None
        time += timedelta(minutes=15)
    labels[label_of(until - timedelta(microseconds=1), since, interval, zone, ahead)] = None
    return list(labels)


@dataclass
class Tree:
    """A node of the path tree."""

    event: Names
    count: int
    drop_off: int
    continued: int
    other: int
    children: list["Tree"]


def path(
    history: History,
    start: Names,
    since: datetime,
    until: datetime,
    *,
    max_depth: int = 5,
    top: int = 10,
    collapse_repeats: bool = False,
    session_gap_seconds: int | None = None,
    end_event: str | None = None,
    direction: str = "after",
) -> Tree:
    by_person: dict[str, list[Event]] = {}
    for event in history.within(since, until):
        by_person.setdefault(history.person(event), []).append(event)
    walks: list[list[str]] = []
    for timeline in by_person.values():
        starts = [i for i, event in enumerate(timeline) if is_named(event, start)]
        if starts:
            first = starts[0]
            timeline = timeline[first::-1] if direction == "before" else timeline[first:]
            walk = _session(timeline, session_gap_seconds)
            walk = _without_repeats(walk) if collapse_repeats else walk
            walks.append(_until(walk[1:], end_event))
    return _grow(start, walks, top, max_depth)


def _session(timeline: list[Event], gap_s: int | None) -> list[str]:
    names = [timeline[0].event]
    for before, event in itertools.pairwise(timeline):
        if gap_s is not None and abs(event.time - before.time) > timedelta(seconds=gap_s):
            break
        names.append(event.event)
    return names


def _without_repeats(names: list[str]) -> list[str]:
    return [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]


def _until(names: list[str], end: str | None) -> list[str]:
    return names[: names.index(end) + 1] if end in names else names


def _grow(event: Names, walks: list[list[str]], top: int, depth: int) -> Tree:
    """`depth`: how many levels there may be below this node."""
    groups: dict[str, list[list[str]]] = {}
    for walk in walks:
        if walk and depth:
            groups.setdefault(walk[0], []).append(walk[1:])
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))
    return Tree(
        event=event,
        count=len(walks),
        drop_off=sum(1 for walk in walks if not walk),
        continued=0 if depth else sum(1 for walk in walks if walk),
        other=sum(len(groups[name]) for name in largest[top:]),
        children=[_grow(name, groups[name], top, depth - 1) for name in largest[:top]],
    )
