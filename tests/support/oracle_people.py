"""Traits, groups and whom they select, by brute force: histories are narrowed or renamed before a query is asked."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tests.support.oracle import MISSING, Event, History, all_hold, holds, property_of


@dataclass(frozen=True)
class Call:
    """An identify or group call; `traits` is JSON text."""

    event_id: str
    kind: str
    distinct_id: str
    time: datetime
    traits: str = "{}"
    group_type: str = ""
    group_key: str = ""


@dataclass(frozen=True)
class PeopleHistory(History):
    """A project's events, merges, and identify and group calls."""

    calls: Sequence[Call] = ()

    def person_of_id(self, distinct_id: str) -> str:
        return self.person_of.get(distinct_id, distinct_id)

    def trait_of(self, person: str, name: str) -> Any:
        return _latest(
            property_of(json.loads(call.traits), name)
            for call in self.calls_of("identify")
            if self.person_of_id(call.distinct_id) == person
        )

    def group_of(self, person: str, group_type: str) -> Any:
        return _latest(
            call.group_key
            for call in self.calls_of("group")
            if call.group_type == group_type and self.person_of_id(call.distinct_id) == person
        )

    def group_trait(self, group_type: str, key: str, name: str) -> Any:
        return _latest(
            property_of(json.loads(call.traits), name)
            for call in self.calls_of("group")
            if (call.group_type, call.group_key) == (group_type, key)
        )

    def person_value(self, person: str, key: str) -> Any:
        """What a filter's key `person.<trait>`, `group.<type>` or `group.<type>.<trait>` speaks of."""
        subject, _, name = key.partition(".")
        if subject == "person":
            return self.trait_of(person, name)
        group_type, dot, trait = name.partition(".")
        group = self.group_of(person, group_type)
        return self.group_trait(group_type, group, trait) if dot and group is not MISSING else group

    def calls_of(self, kind: str) -> list[Call]:
        """In order of time, ties by event id."""
        of_kind = [call for call in self.calls if call.kind == kind]
        return sorted(of_kind, key=lambda c: (c.time, int(c.event_id.replace("-", ""), 16)))


def filtered(history: PeopleHistory, conditions: Mapping[str, Any]) -> PeopleHistory:
    """With the events only for which all conditions hold."""
    people = {key: value for key, value in conditions.items() if key.startswith(("person.", "group."))}
    others = {key: value for key, value in conditions.items() if key not in people}
    return _keeping(
        history,
        lambda event: all_hold(history, event, others) and person_holds(history, history.person(event), people),
    )


def by_group(history: PeopleHistory, group_type: str) -> PeopleHistory:
    """With groups in the place of people; whoever has no such group is not in it."""
    group_of = {
        event.distinct_id: history.group_of(history.person(event), group_type)
        for event in history.events
        if history.group_of(history.person(event), group_type) is not MISSING
    }
    return replace(_keeping(history, lambda event: event.distinct_id in group_of), person_of=group_of)


def person_holds(history: PeopleHistory, person: str, conditions: Mapping[str, Any]) -> bool:
    for key, condition in conditions.items():
        value = history.person_value(person, key)
        if not isinstance(condition, dict):
            condition = {"in" if isinstance(condition, list) else "eq": condition}
        if not all(holds(value, operator, operand) for operator, operand in condition.items()):
            return False
    return True


def _keeping(history: PeopleHistory, keep: Callable[[Event], bool]) -> PeopleHistory:
    return replace(history, events=[event for event in history.events if keep(event)])


def _latest(values: Iterable[Any]) -> Any:
    there = [value for value in values if value is not MISSING]
    return there[-1] if there else MISSING
