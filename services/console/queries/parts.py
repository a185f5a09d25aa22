"""What queries are made of: each part reads some parameters into some fields of the body, and writes them back.

`place` leads from a field that the API names to the parameter that it came from.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from services.console.queries.cohorts import read_cohort, write_cohort
from services.console.queries.errors import QueryError
from services.console.queries.filters import read_filter, write_filter
from services.console.queries.params import Pairs, Params, under
from services.console.queries.texts import ANY_EVENT, name_of, text_of, text_of_name, value_of
from services.console.queries.windows import read_window, write_window

Body = dict[str, Any]
_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Part(Struct, frozen=True):
    """`fields`: of the body, each with the parameter that it comes from."""

    fields: dict[str, str]
    read: Callable[[Params], Body]
    write: Callable[[Body], Pairs]
    inside: "tuple[Part, ...]" = ()


def text(field: str, name: str) -> Part:
    """A name of something: its text, whatever it looks like."""
    return _one(field, name, name_of, text_of_name)


def value(field: str, name: str) -> Part:
    """A number or a word. What is neither goes to the API as it is: its message says what would be one."""
    return _one(field, name, value_of, text_of)


def flag(field: str, name: str) -> Part:
    return _one(field, name, lambda said: said == "1", lambda is_so: "1" if is_so else "0")


def _one(field: str, name: str, read: Callable[[str], Any], write: Callable[[Any], str]) -> Part:
    def read_it(params: Params) -> Body:
        return {field: read(params.one(name))} if params.one(name).strip() else {}

    def write_it(body: Body) -> Pairs:
        return [] if body.get(field) is None else [(name, write(body[field]))]

    return Part({field: name}, read_it, write_it)


def events(field: str, name: str) -> Part:
    """One event, one of several, or any."""

    def read_it(params: Params) -> Body:
        said = [one for one in params.all(name) if one.strip()]
        if any(one.strip() == ANY_EVENT for one in said):
            return {field: None}
        names = list(map(name_of, said))
        return {field: names if len(names) > 1 else names[0]} if names else {}

    def write_it(body: Body) -> Pairs:
        if field not in body:
            return []
        names = body[field]
        if names is None:
            return [(name, ANY_EVENT)]
        return [(name, text_of_name(one)) for one in ([names] if isinstance(names, str) else names)]

    return Part({field: name}, read_it, write_it)


def conditions(field: str, name: str) -> Part:
    def read_it(params: Params) -> Body:
        found = read_filter(params, name)
        return {field: found} if found else {}

    return Part({field: name}, read_it, lambda body: write_filter(body.get(field) or {}, name))


def window() -> Part:
    names = {"since": "since", "until": "until", "timezone": "tz", "compare": "compare", "whole_periods": "whole"}
    words = dict.fromkeys(("last", "this", "previous"), "range")
    return Part(names | words, read_window, write_window)


def cohort() -> Part:
    def read_it(params: Params) -> Body:
        found = read_cohort(params)
        return {} if found is None else {"cohort": found}

    return Part({"cohort": "c"}, read_it, lambda body: write_cohort(body.get("cohort")))


def duration(field: str, name: str) -> Part:
    """Seconds: a number and its unit."""

    def read_it(params: Params) -> Body:
        if not params.one(name).strip():
            return {}
        number = value_of(params.one(name))
        unit = _UNITS.get(params.one(f"{name}.unit"), 1)
        return {field: number * unit if isinstance(number, int) and not isinstance(number, bool) else number}

    def write_it(body: Body) -> Pairs:
        seconds = body.get(field)
        if seconds is None:
            return []
        if not isinstance(seconds, int) or seconds <= 0:
            return [(name, text_of(seconds))]
        unit = next(unit for unit, length in _UNITS.items() if seconds % length == 0)
        return [(name, str(seconds // _UNITS[unit])), (f"{name}.unit", unit)]

    return Part({field: name}, read_it, write_it)


def listed(field: str, name: str, inside: Sequence[Part]) -> Part:
    """A list of objects: series, steps. Rows that say nothing are left out."""

    def read_it(params: Params) -> Body:
        numbers = params.below(name).numbers()
        found = [_read_row(params, f"{name}.{number}", inside) for number in numbers]
        rows = [row for row in found if row]
        return {field: rows} if rows else {}

    def write_it(body: Body) -> Pairs:
        rows = enumerate(body.get(field) or [])
        return [pair for i, row in rows for pair in under(f"{name}.{i}", write_parts(row, inside))]

    return Part({field: name}, read_it, write_it, tuple(inside))


def _read_row(params: Params, place: str, inside: Sequence[Part]) -> Body:
    try:
        return read_parts(params.below(place), inside)
    except QueryError as error:
        raise QueryError(f"{place}.{error.place}", error.message) from error


def read_parts(params: Params, parts: Sequence[Part]) -> Body:
    return {field: value for part in parts for field, value in part.read(params).items()}


def write_parts(body: Body, parts: Sequence[Part]) -> Pairs:
    return [pair for part in parts for pair in part.write(body)]
