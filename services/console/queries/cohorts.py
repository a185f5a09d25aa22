"""Rows of rules about people <-> the cohort of an API body.

Rows stand under `c`: `c.match` is `any` where one of them is enough. What no rows can say is JSON in `c.json`.
"""

from typing import Any

import msgspec

from services.console.queries.errors import QueryError
from services.console.queries.filters import read_filter, write_filter
from services.console.queries.params import Pairs, Params, under
from services.console.queries.texts import json_text, name_of, same, text_of, text_of_name, value_of
from services.console.queries.windows import read_window, write_window

Cohort = dict[str, Any]
KINDS = {"did": "did", "did_not": "did not do", "traits": "have traits", "saved": "are in the saved cohort"}
TIMES = {"at_least": "at least", "at_most": "at most", "exactly": "exactly"}


def read_cohort(params: Params, name: str = "c") -> Cohort | None:
    """None where there are no rules. Raises QueryError."""
    below = params.below(name)
    if below.one("json").strip():
        return _read_json(below.one("json"), f"{name}.json")
    rules = [_read_rule(below, number, name) for number in below.numbers() if below.below(number).one("kind") in KINDS]
    if len(rules) <= 1:
        return rules[0] if rules else None
    return {"or" if below.one("match") == "any" else "and": rules}


def write_cohort(cohort: Cohort | None, name: str = "c") -> Pairs:
    if cohort is None:
        return []
    pairs = under(name, _rows(cohort))
    try:
        back = read_cohort(Params(pairs), name)
    except QueryError:
        back = None
    return pairs if same(back, cohort) else [(f"{name}.json", json_text(cohort))]


def _read_json(text: str, place: str) -> Cohort:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise QueryError(place, f"A cohort is a JSON object: {error}") from error


def _read_rule(below: Params, number: str, name: str) -> Cohort:
    row, kind = below.below(number), below.below(number).one("kind")
    rule: Cohort = {kind: _subject(row, below, number, name)}
    if kind in ("did", "did_not"):
        rule |= read_window(row)
        if conditions := _conditions(below, number, name):
            rule["filter"] = conditions
        if row.one("n").strip():
            rule[row.one("times") or "at_least"] = value_of(row.one("n"))
    return {"not": rule} if row.one("not") else rule


def _subject(row: Params, below: Params, number: str, name: str) -> Any:
    kind = row.one("kind")
    if kind == "traits":
        return _conditions(below, number, name)
    return name_of(row.one("name" if kind == "saved" else "event"))


def _conditions(below: Params, number: str, name: str) -> dict[str, Any]:
    try:
        return read_filter(below, f"{number}.f")
    except QueryError as error:
        raise QueryError(f"{name}.{error.place}", error.message) from error


def _rows(cohort: Cohort) -> Pairs:
    match = next((kind for kind in ("and", "or") if isinstance(cohort.get(kind), list)), None)
    rules = [cohort] if match is None else cohort[match]
    pairs = [] if match != "or" else [("match", "any")]
    for i, rule in enumerate(rules):
        pairs += under(str(i), _row(rule))
    return pairs


def _row(rule: Cohort) -> Pairs:
    if isinstance(rule.get("not"), dict):
        return [*_row(rule["not"]), ("not", "1")]
    kind = next((kind for kind in KINDS if kind in rule), "")
    pairs = [("kind", kind)]
    if kind in ("did", "did_not"):
        pairs += [("event", text_of_name(str(rule[kind]))), *write_window(rule)]
        pairs += write_filter(rule.get("filter") or {}, "f")
        for times in TIMES:
            if rule.get(times) is not None:
                pairs += [("times", times), ("n", text_of(rule[times]))]
    elif kind == "traits":
        pairs += write_filter(rule[kind] or {}, "f")
    elif kind == "saved":
        pairs.append(("name", text_of_name(str(rule[kind]))))
    return pairs
