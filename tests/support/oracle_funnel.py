"""Funnels by brute force: every start is tried, in any order every assignment of events to steps."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.support.oracle import Event, History, Names, all_hold, is_named
from tests.support.oracle_breakdown import value_text

Step = tuple[Names, Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """One person's best funnel: when each step was taken, and the value of the breakdown at the first."""

    person: str
    at: Sequence[datetime]
    value: str


def runs(
    history: History,
    steps: Sequence[Step],
    since: datetime,
    until: datetime,
    order: str,
    within_s: int | None,
    breakdown: str | None,
) -> list[Run]:
    timelines: defaultdict[str, list[Event]] = defaultdict(list)
    for event in history.within(since, until + timedelta(seconds=within_s or 0)):
        timelines[history.person(event)].append(event)
    found = []
    for person, timeline in timelines.items():
        can_be = [{k for k, step in enumerate(steps) if _is(history, event, step)} for event in timeline]
        best: tuple[int, list[datetime]] = (-1, [])
        for start in range(len(timeline)):
            if timeline[start].time >= until:
                break
            last = timeline[start].time + timedelta(seconds=within_s) if within_s else until
            times = [event.time for event in timeline[start:] if event.time <= last]
            at = _TAKEN[order](times, can_be[start:], len(steps))
            if len(at) > len(best[1]):
                best = start, at
        if best[1]:
            value = value_text(history, timeline[best[0]], breakdown) if breakdown is not None else ""
            found.append(Run(person, best[1], value))
    return found


def _is(history: History, event: Event, step: Step) -> bool:
    return is_named(event, step[0]) and all_hold(history, event, step[1])


def _ordered(times: Sequence[datetime], can_be: Sequence[set[int]], steps: int) -> list[datetime]:
    """All ways to go on from the first event; of the furthest, the one that is earliest at each step."""
    if not times or 0 not in can_be[0]:
        return []

    def onward(place: int, step: int) -> list[list[datetime]]:
        ways = [[times[place], *way] for nxt in range(place + 1, len(times)) if step + 1 in can_be[nxt] and step + 1 < steps for way in onward(nxt, step + 1)]  # fmt: skip
        return ways or [[times[place]]]

    # Enough of them: a funnel of a few steps over a few dozen events.
    return min(onward(0, 0), key=lambda way: (-len(way), way))


def _strict(times: Sequence[datetime], can_be: Sequence[set[int]], steps: int) -> list[datetime]:
    at = []
    for step, (time, possible) in enumerate(zip(times[:steps], can_be, strict=False)):
        if step not in possible:
            break
        at.append(time)
    return at


def _any(times: Sequence[datetime], can_be: Sequence[set[int]], steps: int) -> list[datetime]:
    """When the largest matching of the events so far grows."""
    if not times or not can_be[0]:
        return []
    at: list[datetime] = []
    reachable: set[frozenset[int]] = {frozenset()}
    for time, possible in zip(times, can_be, strict=False):
        reachable |= {taken | {step} for taken in reachable for step in possible}
        if max(map(len, reachable)) > len(at):
            at.append(time)
    return at


_TAKEN = {"ordered": _ordered, "strict": _strict, "any": _any}


def figures(found: Sequence[Run], steps: int) -> list[tuple[int, float | None, float | None]]:
    """(people, median, p90 of the seconds from the step before) of each step."""
    lines = []
    for k in range(steps):
        there = [run for run in found if len(run.at) > k]
        waits = sorted((run.at[k] - run.at[k - 1]).total_seconds() for run in there) if k else []
        lines.append((len(there), quantile(waits, 0.5), quantile(waits, 0.9)))
    return lines


def quantile(ordered: Sequence[float], level: float) -> float | None:
    """Between the two nearest, by how near they are."""
    if not ordered:
        return None
    place = level * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
