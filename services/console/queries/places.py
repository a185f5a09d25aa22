"""Where the API's error belongs in the form: `series[1].filter.plan` -> `s.1.f.0`."""

import re

from services.console.queries.kinds import Kind
from services.console.queries.params import Params
from services.console.queries.parts import Part
from services.console.queries.texts import name_of

_STEP = re.compile(r"([^.\[]+)((?:\[\d+\])?)\.?")
_RULES = re.compile(r"^cohort(?:\.(?:and|or)\[(\d+)\])?(?:\.|$)")


def place_of(kind: Kind, params: Params, field: str) -> str | None:
    """None where the form has no such place. `params` are those of the body that was sent."""
    field = field.removeprefix("query.")
    return _cohort(params, field) if field.startswith("cohort") else _place(kind.parts, params, field)


def _place(parts: tuple[Part, ...], params: Params, field: str) -> str | None:
    found = _STEP.match(field)
    if found is None:
        return None
    name, index, rest = found[1], found[2].strip("[]"), field[found.end() :]
    part = next((part for part in parts if name in part.fields), None)
    if part is None:
        return None
    place = part.fields[name]
    if part.inside and index:
        below = _place(part.inside, params.below(f"{place}.{index}"), rest)
        return f"{place}.{index}.{below}" if below else f"{place}.{index}"
    return _condition(params, place, rest)


def _condition(params: Params, place: str, key: str) -> str:
    """The row of a filter; the place itself of all else."""
    for number, row in zip(params.below(place).numbers(), params.rows(place), strict=True):
        if key and name_of(row.one("key"))[:100] == key:
            return f"{place}.{number}"
    return place


def _cohort(params: Params, field: str) -> str:
    found = _RULES.match(field)
    if found is None or params.one("c.json"):
        return "c"
    number = found[1] or "0"
    rest = field[found.end() :].removeprefix("not.")
    if rest.startswith(("traits.", "filter.")):
        return _condition(params.below(f"c.{number}"), "f", rest.partition(".")[2]).replace("f", f"c.{number}.f", 1)
    return f"c.{number}"
