"""Traits, groups and whom they select, by brute force: histories are narrowed or renamed before a query is asked."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tests.support.oracle import MISSING, Event, History, all_hold, holds, moment, property_of


@dataclass(frozen=True)
class Call:
    """An identify (also of kind link) or group call; `traits` and `set_once` are JSON text. `received`: as of an event."""

    event_id: str
    kind: str
    distinct_id: str
    time: datetime
    traits: str = "{}"
    group_type: str = ""
    group_key: str = ""
    set_once: str = "{}"
    received: datetime | None = None

    @property
    def order(self) -> tuple[datetime, datetime, int]:
        return moment(self.time, self.received, self.event_id)


@dataclass(frozen=True)
class PeopleHistory(History):
    """A project's events, merges, and identify and group calls."""

    calls: Sequence[Call] = ()

    def person_of_id(self, distinct_id: str) -> str:
        return self.person_of.get(distinct_id, distinct_id)

    def traits_of(self, person: str) -> dict[str, Any]:
        calls = self.calls_of("identify", "link")
        return folded(call for call in calls if self.person_of_id(call.distinct_id) == person)

    def group_of(self, person: str, group_type: str, until: tuple[datetime, datetime] | None = None) -> Any:
        """The last one, or the last up to a time and receipt."""
        keys = [
            call.group_key
            for call in self.calls_of("group")
            if call.distinct_id
            and call.group_type == group_type
            and self.person_of_id(call.distinct_id) == person
            and (until is None or call.order[:2] <= until)
        ]
        return keys[-1] if keys else MISSING

    def group_of_event(self, event: Event, group_type: str) -> Any:
        own = json.loads(event.properties).get("$groups")
        key = own.get(group_type) if isinstance(own, dict) else None
        if (isinstance(key, str) and key) or (isinstance(key, int) and not isinstance(key, bool)):
            return str(key)
        return self.group_of(self.person_of_id(event.distinct_id), group_type, event.order[:2])

    def group_trait(self, group_type: str, key: str, name: str) -> Any:
        calls = self.calls_of("group")
        return property_of(
            folded(call for call in calls if (call.group_type, call.group_key) == (group_type, key)), name
        )

    def person_value(self, person: str, key: str) -> Any:
        """What a filter's key `person.<trait>`, `group.<type>` or `group.<type>.<trait>` speaks of."""
        subject, _, name = key.partition(".")
        if subject == "person":
            return property_of(self.traits_of(person), name)
        group_type = name.partition(".")[0]
        return self._group_value(self.group_of(person, group_type), name)

    def event_value(self, event: Event, key: str) -> Any:
        """The same of an event: its group is that of its time."""
        subject, _, name = key.partition(".")
        if subject == "person":
            return self.person_value(self.person_of_id(event.distinct_id), key)
        return self._group_value(self.group_of_event(event, name.partition(".")[0]), name)

    def _group_value(self, group: Any, name: str) -> Any:
        group_type, dot, trait = name.partition(".")
        return self.group_trait(group_type, group, trait) if dot and group is not MISSING else group

    def calls_of(self, *kinds: str) -> list[Call]:
        """In order of time, ties by receipt, then by event id."""
        return sorted((call for call in self.calls if call.kind in kinds), key=lambda call: call.order)


def folded(calls: Iterable[Call]) -> dict[str, Any]:
    """What the calls, in order, leave of the traits."""
    traits: dict[str, Any] = {}
    for call in calls:
        for name, value in json.loads(call.traits).items():
            traits[name] = value
            if value is None:
                del traits[name]
        for name, value in json.loads(call.set_once).items():
            if value is not None:
                traits.setdefault(name, value)
    return traits


def filtered(history: PeopleHistory, conditions: Mapping[str, Any]) -> PeopleHistory:
    """With the events only for which all conditions hold."""
    people = {key: value for key, value in conditions.items() if key.startswith(("person.", "group."))}
    others = {key: value for key, value in conditions.items() if key not in people}
    return _keeping(
        history,
        lambda event: (
            all_hold(history, event, others) and values_hold(lambda key: history.event_value(event, key), people)
        ),
    )


def by_group(history: PeopleHistory, group_type: str) -> PeopleHistory:
    """With groups in the place of people; events that belong to no such group are not in it."""
    group_of = {event.event_id: history.group_of_event(event, group_type) for event in history.events}
    with_group = _keeping(history, lambda event: group_of[event.event_id] is not MISSING)
    return replace(with_group, unit_of=group_of)


def person_holds(history: PeopleHistory, person: str, conditions: Mapping[str, Any]) -> bool:
    return values_hold(lambda key: history.person_value(person, key), conditions)


def values_hold(value_of: Callable[[str], Any], conditions: Mapping[str, Any]) -> bool:
    for key, condition in conditions.items():
        value = value_of(key)
        if not isinstance(condition, dict):
            condition = {"in" if isinstance(condition, list) else "eq": condition}
        if not all(holds(value, operator, operand) for operator, operand in condition.items()):
            return False
    return True


def _keeping(history: PeopleHistory, keep: Callable[[Event], bool]) -> PeopleHistory:
    return replace(history, events=[event for event in history.events if keep(event)])
