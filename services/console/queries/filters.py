"""Rows of (property, operator, value) <-> the filter of an API body."""

from typing import Any

from services.console.queries.errors import QueryError
from services.console.queries.params import Pairs, Params, under
from services.console.queries.texts import (
    name_of,
    text_of,
    text_of_name,
    text_of_values,
    value_of,
    values_of,
)

# As the address has them, and what a reader sees. `exists: false` is an operator of its own here: it takes no value.
OPERATORS = {
    "eq": "is",
    "ne": "is not",
    "in": "is one of",
    "not_in": "is none of",
    "contains": "contains",
    "gt": ">",
    "gte": "≥",
    "lt": "<",
    "lte": "≤",
    "exists": "is set",
    "missing": "is not set",
}
WITHOUT_VALUE = ("exists", "missing")
_OF_LISTS = ("in", "not_in")
Filter = dict[str, Any]


def read_filter(params: Params, name: str) -> Filter:
    """Rows without a property are left out. Raises QueryError."""
    found: dict[str, dict[str, Any]] = {}
    for number, row in zip(params.below(name).numbers(), params.rows(name), strict=True):
        key = name_of(row.one("key"))
        if not key:
            continue
        operator, operand = _condition(row, f"{name}.{number}", key)
        operators = found.setdefault(key, {})
        if operator in operators:
            raise QueryError(f"{name}.{number}", f"`{key}` takes each operator once: choose another one.")
        operators[operator] = operand
    return {key: _short(operators) for key, operators in found.items()}


def write_filter(conditions: Filter, name: str) -> Pairs:
    pairs: Pairs = []
    rows = [(key, *one) for key, value in conditions.items() for one in _operators(value).items()]
    for i, (key, operator, operand) in enumerate(rows):
        pairs += under(f"{name}.{i}", _row(key, operator, operand))
    return pairs


def _condition(row: Params, place: str, key: str) -> tuple[str, Any]:
    operator, text = row.one("op") or "eq", row.one("value")
    if operator in WITHOUT_VALUE:
        return "exists", operator == "exists"
    if not text.strip():
        raise QueryError(place, f'`{key}`: say a value, or choose “is set”. The empty text is `""`.')
    return operator, values_of(text) if operator in _OF_LISTS else value_of(text)


def _short(operators: dict[str, Any]) -> Any:
    """Without its operator where that is the one that a bare value has."""
    if len(operators) == 1:
        ((operator, operand),) = operators.items()
        if operator == "in" or (operator == "eq" and not isinstance(operand, list | dict)):
            return operand
    return operators


def _operators(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {"in" if isinstance(value, list) else "eq": value}


def _row(key: str, operator: str, operand: Any) -> Pairs:
    pairs = [("key", text_of_name(key))]
    if operator == "exists" and isinstance(operand, bool):
        return [*pairs, ("op", "exists" if operand else "missing")]
    if operator != "eq":
        pairs.append(("op", operator))
    is_list = operator in _OF_LISTS and isinstance(operand, list)
    return [*pairs, ("value", text_of_values(operand) if is_list else text_of(operand))]
