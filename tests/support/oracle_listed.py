"""Who is behind a number, by brute force: the people themselves, where the other oracles count them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.support import oracle_funnel
from tests.support.oracle import Event, History, Names, all_hold, is_named, label_of, labels_of
from tests.support.oracle_breakdown import lines, value_text


def of_trend(
    history: History,
    series: Mapping[str, Any],
    since: datetime,
    until: datetime,
    zone: ZoneInfo,
    bucket: int | None,
    line: str | None,
    breakdown: str,
    line_of: Mapping[str, str],
) -> set[str]:
    """`line_of`: by the text of each value, its line."""
    days = labels_of(since, until, "day", zone)
    return {
        history.person(event)
        for event in history.within(since, until)
        if is_named(event, series["event"])
        and all_hold(history, event, series.get("filter", {}))
        and (bucket is None or days.index(label_of(event.time, since, "day", zone)) == bucket)
        and (line is None or line_of[value_text(history, event, breakdown)] == line)
    }


def of_retention(
    history: History,
    born: Names,
    back: Names,
    since: datetime,
    until: datetime,
    zone: ZoneInfo,
    cohort: int,
    offset: int,
    mode: str,
    line: str | None,
    breakdown: str,
    top: int,
) -> set[str]:
    days = labels_of(since, until, "day", zone)

    def day(event: Event) -> int:
        return days.index(label_of(event.time, since, "day", zone))

    began: dict[str, tuple[int, str]] = {}
    returned: dict[str, set[int]] = {}
    for event in history.within(since, until):
        person = history.person(event)
        if is_named(event, born):
            began.setdefault(person, (day(event), value_text(history, event, breakdown)))
        if is_named(event, back):
            returned.setdefault(person, set()).add(day(event))
    line_of = lines(Counter(text for _, text in began.values()), top)
    wanted = range(cohort + offset, len(days)) if mode == "on_or_after" else [cohort + offset]
    return {
        person
        for person, (first, text) in began.items()
        if first == cohort
        and (line is None or line_of[text] == line)
        and (not offset or not returned.get(person, set()).isdisjoint(wanted))
    }


def of_funnel(
    runs: Sequence[oracle_funnel.Run], steps: int, step: int, drop_off: bool, line: str | None, top: int
) -> set[str]:
    line_of = lines(Counter(run.value for run in runs), top)
    return {
        run.person
        for run in runs
        if (len(run.at) == step < steps if drop_off else len(run.at) >= step)
        and (line is None or line_of[run.value] == line)
    }


def of_path(
    history: History,
    start: Names,
    since: datetime,
    until: datetime,
    node: Sequence[str],
    part: str,
    depth: int,
    top: int,
) -> set[str]:
    walks: dict[str, list[str]] = {}
    began: set[str] = set()
    for event in history.within(since, until):
        person = history.person(event)
        if person in began:
            walks[person].append(event.event)
        elif is_named(event, start):
            began.add(person)
            walks[person] = []
    here = {person: walk[len(node) :] for person, walk in walks.items() if walk[: len(node)] == list(node)}
    onward = {person: walk[0] for person, walk in here.items() if walk}
    children = Counter(onward.values())
    largest = sorted(children, key=lambda name: (-children[name], name))[:top]
    at_end = len(node) == depth
    return {
        "count": set(here),
        "drop_off": set(here) - set(onward),
        "continued": set(onward) if at_end else set(),
        "other": set() if at_end else {person for person, name in onward.items() if name not in largest},
    }[part]
