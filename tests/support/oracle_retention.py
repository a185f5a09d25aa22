"""Retention with all its options by brute force: every person, period by period."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.oracle import Event, History, Names, all_hold, is_named, label_of, labels_of
from tests.support.oracle_breakdown import lines, value_text

Matrix = list[list[int]]


def retention(
    history: History,
    born: Names,
    back: Names,
    since: datetime,
    until: datetime,
    interval: str,
    zone: ZoneInfo,
    *,
    mode: str = "on",
    first_time: bool = False,
    born_filter: Mapping[str, Any] | None = None,
    return_filter: Mapping[str, Any] | None = None,
    min_occurrences: int = 1,
    week_start: str = "monday",
    breakdown: str | None = None,
    top: int = 10,
) -> tuple[Matrix, dict[str, Matrix]]:
    """The matrix of all, and those of the lines by their text, in the order of the lines."""
    ahead = timedelta(days=1 if week_start == "sunday" and interval == "week" else 0)
    labels = labels_of(since, until, interval, zone, ahead)

    def period(event: Event) -> int:
        return labels.index(label_of(event.time, since, interval, zone, ahead))

    inside = history.within(since, until)

    def is_born(event: Event) -> bool:
        return is_named(event, born) and all_hold(history, event, born_filter or {})

    before = {history.person(e) for e in history.events if is_born(e) and e.time < since}
    cohort: dict[str, tuple[int, str]] = {}
    for event in inside:
        person = history.person(event)
        if is_born(event) and person not in cohort and not (first_time and person in before):
            cohort[person] = period(event), value_text(history, event, breakdown) if breakdown else ""
    times = Counter(
        (history.person(event), period(event))
        for event in inside
        if is_named(event, back) and all_hold(history, event, return_filter or {})
    )

    def came_back(person: str, p: int) -> bool:
        periods = range(p, len(labels)) if mode == "on_or_after" else [p]
        return any(times[person, later] >= min_occurrences for later in periods)

    def matrix(people: dict[str, int]) -> Matrix:
        return [
            [
                sum(1 for person, began in people.items() if began == i and (j == i or came_back(person, j)))
                for j in range(i, len(labels))
            ]
            for i in range(len(labels))
        ]

    line_of = lines(Counter(text for _, text in cohort.values()), top)
    return matrix({person: began for person, (began, _) in cohort.items()}), {
        line: matrix({person: began for person, (began, text) in cohort.items() if line_of[text] == line})
        for line in dict.fromkeys(line_of.values())
    }
