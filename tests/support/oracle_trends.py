"""Trends by brute force: the events of each period and line, one by one."""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.oracle import Event, History, all_hold, is_named, label_of, labels_of, property_of
from tests.support.oracle_breakdown import lines, value_text
from tests.support.oracle_funnel import quantile
from tests.support.oracle_people import PeopleHistory


def trend(
    history: History,
    series: Mapping[str, Any],
    since: datetime,
    until: datetime,
    interval: str,
    zone: ZoneInfo,
    breakdown: str | None = None,
    top: int = 10,
    sundays: bool = False,
) -> dict[str, list[float | None]]:
    """The numbers of each line, by its text, in the order of the lines."""
    # A week that begins a day earlier is one of a calendar that is a day ahead.
    ahead = timedelta(days=1 if sundays and interval == "week" else 0)
    periods = labels_of(since, until, interval, zone, ahead)
    found = _selected(history, series, since, until)
    value_of = {event: value_text(history, event, breakdown) if breakdown else "" for event in found}
    line_of = lines(_totals(history, value_of, series), top) if breakdown else {"": ""}
    cells: defaultdict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in found:
        cells[line_of[value_of[event]], periods.index(label_of(event.time, since, interval, zone, ahead))].append(event)
    return {
        line: [_number(history, cells[line, i], series) for i in range(len(periods))]
        for line in dict.fromkeys(line_of.values())
    }


def are_close(history: History, series: Mapping[str, Any], since: datetime, until: datetime, breakdown: str) -> bool:
    """Whether values of the breakdown have sums that are all but equal: their order is that of rounding, then."""
    found = _selected(history, series, since, until)
    totals = _totals(history, {event: value_text(history, event, breakdown) for event in found}, series)
    ordered = sorted(total for total in totals.values() if not math.isinf(total))
    return series.get("measure") in ("sum", "avg", "percentile") and any(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) and not (a == b and float(a).is_integer())
        for a, b in itertools.pairwise(ordered)
    )


def _selected(history: History, series: Mapping[str, Any], since: datetime, until: datetime) -> list[Event]:
    return [
        event
        for event in history.within(since, until)
        if is_named(event, series["event"]) and all_hold(history, event, series.get("filter", {}))
    ]


def _totals(history: History, value_of: Mapping[Event, str], series: Mapping[str, Any]) -> dict[str, float]:
    """The measure of each value over the whole time window; where there is nothing to measure, less than any."""
    by_value: defaultdict[str, list[Event]] = defaultdict(list)
    for event, text in value_of.items():
        by_value[text].append(event)
    numbers = {text: _number(history, events, series) for text, events in by_value.items()}
    return {text: -math.inf if number is None else number for text, number in numbers.items()}


def _number(history: History, events: Sequence[Event], series: Mapping[str, Any]) -> float | None:
    people = {history.person(event) for event in events}
    match series.get("measure", "count"):
        case "count":
            return len(events)
        case "people":
            return len(people)
        case "per_person":
            return len(events) / len(people) if events else None
    values = [_measured(history, event, series["property"]) for event in events]
    exact = sorted(v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    numbers = [float(v) for v in exact]
    match series["measure"]:
        case "sum":
            return math.fsum(numbers)
        case "percentile":
            return quantile(numbers, series.get("percentile", 50) / 100)
        case "avg":
            return math.fsum(numbers) / len(numbers) if numbers else None
        case "min":
            return min(exact, default=None)
    return max(exact, default=None)


def _measured(history: History, event: Event, key: str) -> Any:
    if not key.startswith(("person.", "group.")):
        return property_of(json.loads(event.properties), key.removeprefix("properties."))
    assert isinstance(history, PeopleHistory)
    return history.event_value(event, key)
