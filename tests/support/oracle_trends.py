"""Trends by brute force: the events of each period and line, one by one."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.oracle import Event, History, all_hold, label_of, labels_of, property_of
from tests.support.oracle_breakdown import lines, value_text
from tests.support.oracle_funnel import quantile


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
    found = [
        event
        for event in history.within(since, until)
        if event.event == series["event"] and all_hold(history, event, series.get("filter", {}))
    ]
    value_of = {event: value_text(history, event, breakdown) if breakdown else "" for event in found}
    line_of = lines(Counter(value_of.values()), top) if breakdown else {"": ""}
    cells: defaultdict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in found:
        cells[line_of[value_of[event]], periods.index(label_of(event.time, since, interval, zone, ahead))].append(event)
    return {
        line: [_number(history, cells[line, i], series) for i in range(len(periods))]
        for line in dict.fromkeys(line_of.values())
    }


def _number(history: History, events: Sequence[Event], series: Mapping[str, Any]) -> float | None:
    people = {history.person(event) for event in events}
    match series.get("measure", "count"):
        case "count":
            return len(events)
        case "people":
            return len(people)
        case "per_person":
            return len(events) / len(people) if events else None
    values = [property_of(json.loads(event.properties), series["property"]) for event in events]
    numbers = sorted(float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    match series["measure"]:
        case "sum":
            return math.fsum(numbers)
        case "percentile":
            return quantile(numbers, series.get("percentile", 50) / 100)
        case "avg":
            return math.fsum(numbers) / len(numbers) if numbers else None
        case "min":
            return min(numbers, default=None)
    return max(numbers, default=None)
