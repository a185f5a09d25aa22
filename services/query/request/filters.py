"""The filter object as it is sent -> typed conditions. Pure; sql/conditions.py turns them into SQL.

    {"event": "checkout", "amount": {"gte": 10, "lt": 20}, "plan": ["pro", "team"], "person.country": "NO"}

All conditions must hold. A value matches by type and equality: "1" is not 1, 1 is 1.0, true is only true, null is only
an explicit null. ne and not_in are the opposite of eq and in, so they hold where the property is missing; every other
operator fails there, except {"exists": false}.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.validation import invalid_field

MAX_FILTER_BYTES = 64 * 1024
MAX_CONDITIONS = 50
MAX_LIST_MEMBERS = 1000
MAX_KEY_LEVELS = 16
MAX_TRAIT_CONDITIONS = 10  # each is a pass over the project's identity log
# Columns of the event itself; these names hide properties of the same name.
COLUMNS = ("event", "distinct_id", "person_id")
# So do these: person.<trait>, group.<type> (the group's key) and group.<type>.<trait>.
TRAITS = ("person.", "group.")

Scalar = str | int | float | bool | None
_SCALARS = (str, int, float, type(None))  # bool is an int
_OPERATORS = ("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "exists", "contains")
_ORDERED = ("gt", "gte", "lt", "lte")
_OPPOSITES = {"ne": "eq", "not_in": "in"}


class Condition(Struct, frozen=True):
    """`key` is one of COLUMNS, a trait, or a property. `operand` is a list for in and not_in, a bool for exists, else a scalar."""

    key: str
    operator: str
    operand: Any

    @property
    def is_column(self) -> bool:
        return self.key in COLUMNS

    @property
    def is_trait(self) -> bool:
        return self.key.startswith(TRAITS)

    @property
    def group_type(self) -> str | None:
        """Of `group.<type>` and `group.<type>.<trait>`."""
        subject, _, name = self.key.partition(".")
        return name.partition(".")[0] if subject == "group" and self.is_trait else None

    @property
    def needs_persons(self) -> bool:
        return self.is_trait or self.needs_names

    @property
    def needs_names(self) -> bool:
        return self.key == "person_id"

    def positive(self) -> "Condition":
        """The condition that fails where the value is missing: itself, or the one that it is the opposite of."""
        if self.operator == "exists":
            return self if self.operand else Condition(self.key, "exists", True)
        opposite = _OPPOSITES.get(self.operator)
        return self if opposite is None else Condition(self.key, opposite, self.operand)


def parse_filter(text: Raw) -> list[Condition]:
    """Absent, null and {} are no conditions. Raises ApiError naming the key."""
    raw = bytes(text)
    if raw in (b"", b"null"):
        return []
    if len(raw) > MAX_FILTER_BYTES:
        raise _invalid("", f"has {len(raw)} bytes; at most {MAX_FILTER_BYTES} are taken. Use fewer or shorter values")
    try:
        conditions = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid("", "must be an object of conditions with finite numbers") from error
    parsed = [condition for key, value in conditions.items() for condition in _parse_key(key, value)]
    if len(parsed) > MAX_CONDITIONS:
        raise _invalid("", f"has {len(parsed)} conditions; at most {MAX_CONDITIONS} are taken")
    traits = sum(condition.is_trait for condition in parsed)
    if traits > MAX_TRAIT_CONDITIONS:
        raise _invalid("", f"has {traits} conditions on traits; at most {MAX_TRAIT_CONDITIONS} are taken")
    return parsed


def _parse_key(key: str, value: Any) -> list[Condition]:
    if key.count(".") >= MAX_KEY_LEVELS:
        raise _invalid(key, f"goes deeper than {MAX_KEY_LEVELS} levels")
    if isinstance(value, dict):
        if not value:
            raise _invalid(key, f"has no operator: use one of {', '.join(_OPERATORS)}")
        return [_parse_operator(key, operator, operand) for operator, operand in value.items()]
    return [_parse_operator(key, "in" if isinstance(value, list) else "eq", value)]


def _parse_operator(key: str, operator: str, operand: Any) -> Condition:
    if operator not in _OPERATORS:
        raise _invalid(
            key,
            f"has an operator that is not known, `{operator[:50]}`: use one of {', '.join(_OPERATORS)} "
            "(to reach into an object, write its keys with dots)",
        )
    if operator == "exists":
        _expect(isinstance(operand, bool), key, operator, "true or false")
    elif operator in ("in", "not_in"):
        _expect(isinstance(operand, list) and len(operand) <= MAX_LIST_MEMBERS, key, operator, _LIST)
        _expect(all(isinstance(member, _SCALARS) for member in operand), key, operator, _LIST)
    elif operator in _ORDERED:
        ordered = isinstance(operand, (str, int, float)) and not isinstance(operand, bool)
        _expect(ordered, key, operator, "a number or a string")
    else:
        _expect(isinstance(operand, _SCALARS), key, operator, "a string, number, boolean or null")
    if key in COLUMNS and operator != "exists":
        members = operand if isinstance(operand, list) else [operand]
        _expect(all(isinstance(member, str) for member in members), key, operator, "strings")
    return Condition(key, operator, operand)


_LIST = f"a list of at most {MAX_LIST_MEMBERS} strings, numbers, booleans and nulls"


def _expect(ok: bool, key: str, operator: str, what: str) -> None:
    if not ok:
        raise _invalid(key, f"`{operator}` takes {what}")


def _invalid(key: str, reason: str) -> ApiError:
    field = f"filter.{key[:100]}" if key else "filter"
    return invalid_field(field, reason, ErrorCode.INVALID_FILTER)
