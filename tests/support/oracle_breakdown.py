"""Breakdowns by brute force: a value's text, and which values get a line of their own."""

import json
from collections.abc import Mapping
from typing import Any

from tests.support.oracle import MISSING, Event, History, property_of
from tests.support.oracle_people import PeopleHistory

OTHER = "other"


def value_text(history: History, event: Event, key: str) -> str:
    """Of the event's property, or of its group."""
    if not key.startswith("group."):
        return text_of(json.loads(event.properties), key)
    assert isinstance(history, PeopleHistory)
    group = history.group_of_event(event, key.removeprefix("group."))
    return "" if group is MISSING else json.dumps(group, ensure_ascii=False)


def text_of(properties: dict[str, Any], key: str) -> str:
    """JSON in one way of writing; empty for a missing property."""
    value = property_of(properties, key.removeprefix("properties."))
    return "" if value is MISSING else json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Whole doubles are written as integers, while they are not too long."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e20:
        return int(value)
    return value


def lines(weights: Mapping[str, float], top: int) -> dict[str, str]:
    """The line of each value: its own text, or OTHER. In the order of the lines."""
    ranked = sorted(weights, key=lambda text: (-weights[text], text.encode()))
    return {text: text if place < top else OTHER for place, text in enumerate(ranked)}


def line_text(line: dict[str, Any]) -> str:
    """The text of an answer's line."""
    if line["kind"] != "value":
        return "" if line["kind"] == "missing" else OTHER
    return json.dumps(_plain(line["value"]), ensure_ascii=False, separators=(",", ":"))
