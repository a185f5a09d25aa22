"""Errors of the API in the words of the form, where they stand at a field of it."""

import re

_LABELS = {
    "since": "From",
    "until": "Before",
    "timezone": "Time zone",
    "born_event": "They begin with",
    "return_event": "They come back with",
    "start_event": "Start",
    "end_event": "Stop at",
    "event": "Event",
    "measure": "Count",
    "property": "Property",
    "percentile": "Percentile",
    "interval": "By",
    "compare": "Compare with",
    "breakdown": "Break down by",
    "aggregate_by": "Count groups, not people",
    "people_of_step": "List people of step",
    "conversion_window_seconds": "All steps within",
    "session_gap_seconds": "A pause ends it",
    "min_occurrences": "At least so often",
    "max_depth": "Steps",
    "whole_periods": "Whole periods only",
    "last": "When",
    "this": "When",
    "previous": "When",
}
_EVENTS = ("event", "born_event", "return_event", "start_event")
_TIMES = ("since", "until")
_DAY = "such as 2026-03-01"
_NO_DATE = re.compile(r"`(since|until)`: `([^`]*)` is not a date")
_QUOTED = re.compile(r"`([^`]*)`")


def in_words(message: str, code: str, field: str, said: str) -> str:
    """`field`: as the API names it; `said`: what stands in the form there, if it is a field and no row."""
    name = _name(field)
    known = {
        "missing_field": _missing(name),
        "invalid_window": "“Before” must be a later day than “From”." if name == "until" else "",
        "invalid_timestamp": _no_date(message, name),
        "invalid_timezone": f"There is no time zone “{said}”. Write one such as Europe/Berlin, or UTC." if said else "",
    }
    return known.get(code) or _without_code(message, field)


def _missing(name: str) -> str:
    if name in _TIMES:
        return f"“{_LABELS[name]}” needs a day, {_DAY}."
    return "Choose an event, or * for any." if name in _EVENTS else "This must be filled in."


def _no_date(message: str, name: str) -> str:
    """At a row, which has several fields, with the label of the one."""
    found = _NO_DATE.search(message)
    if found is None:
        return ""
    label = "" if name == found[1] else f"“{_LABELS[found[1]]}”: "
    return f"{label}“{found[2]}” is no date. Write one {_DAY}."


def _without_code(message: str, field: str) -> str:
    """Names as their labels, without the backticks; the field's own name is said by its place."""
    rest = message.removeprefix(f"`{field}`: ")
    text = _QUOTED.sub(lambda found: f"“{_LABELS.get(_name(found[1]), found[1])}”", rest)
    return text[:1].upper() + text[1:]


def _name(field: str) -> str:
    """`series[0].event` -> `event`."""
    return field.rpartition(".")[2].partition("[")[0]
