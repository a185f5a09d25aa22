"""The filter object as it is sent -> typed conditions. Pure; sql/conditions.py turns them into SQL.

    {"event": "checkout", "amount": {"gte": 10, "lt": 20}, "plan": ["pro", "team"], "person.country": "NO"}

All conditions must hold. A value matches by type and equality: "1" is not 1, 1 is 1.0, true is only true, null is only
an explicit null. ne and not_in are the opposite of eq and in, so they hold where the property is missing; every other
operator fails there, except {"exists": false}.

Keys are the event's own fields, traits, or properties. `properties.<name>` is the property of that name, whatever it is.
"""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.timestamps import FORMS
from services.contract.api.validation import invalid_field
from services.query.request.time_window import time_us

MAX_FILTER_BYTES = 64 * 1024
MAX_CONDITIONS = 50
MAX_LIST_MEMBERS = 1000
MAX_KEY_LEVELS = 16
MAX_TRAIT_CONDITIONS = 10  # each is a pass over the project's identity log
# Fields of the event itself; these names hide properties of the same name.
TEXT_FIELDS = ("event", "distinct_id", "person_id")
TIME_FIELDS = ("timestamp", "received_at")
EVENT_ID = "event_id"
FIELDS = (*TEXT_FIELDS, *TIME_FIELDS, EVENT_ID)
# So do these: person.<trait>, group.<type> (the group's key) and group.<type>.<trait>.
TRAITS = ("person.", "group.")

Scalar = str | int | float | bool | None
_SCALARS = (str, int, float, type(None))  # bool is an int
_OPERATORS = ("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "exists", "contains")
_ORDERED = ("gt", "gte", "lt", "lte")
_OPPOSITES = {"ne": "eq", "not_in": "in"}
_PROPERTIES = "properties."


def property_name(key: str) -> str:
    """Of a key that is no field and no trait."""
    return key.removeprefix(_PROPERTIES)


def property_hint(key: str) -> str:
    """For messages about keys that are no property."""
    return f"For a property of that name, write `{_PROPERTIES}{key[:100]}`"


class Condition(Struct, frozen=True):
    """`key` is one of FIELDS, a trait, or a property. `operand` is a list for in and not_in, a bool for exists, else a scalar:
    of a time microseconds since 1970."""

    key: str
    operator: str
    operand: Any

    @property
    def is_field(self) -> bool:
        return self.key in FIELDS

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


def parse_filter_of(text: Raw, field: str) -> list[Condition]:
    """A filter that is sent as another field: the same rules, and errors name that field."""
    try:
        return parse_filter(text)
    except ApiError as error:
        message = error.message.replace("`filter", f"`{field}", 1)
        raise ApiError(error.code, message, field=(error.field or "filter").replace("filter", field, 1)) from error


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
    if key in FIELDS and operator != "exists":
        members = operand if isinstance(operand, list) else [operand]
        values = [_field_value(key, operator, member) for member in members]
        operand = values if isinstance(operand, list) else values[0]
    return Condition(key, operator, operand)


def _field_value(key: str, operator: str, operand: Scalar) -> Scalar:
    if key in TEXT_FIELDS:
        _expect(isinstance(operand, str), key, operator, "strings")
        return operand
    if operator == "contains" or (key == EVENT_ID and operator in _ORDERED):
        raise _invalid(key, f"takes no `{operator}`. {property_hint(key)}")
    try:
        return str(UUID(str(operand))) if key == EVENT_ID else time_us(operand)
    except ValueError as error:
        form = "a UUID, as answers show it" if key == EVENT_ID else FORMS
        raise _invalid(key, f"`{operator}` takes {form}. {property_hint(key)}") from error


_LIST = f"a list of at most {MAX_LIST_MEMBERS} strings, numbers, booleans and nulls"


def _expect(ok: bool, key: str, operator: str, what: str) -> None:
    if not ok:
        raise _invalid(key, f"`{operator}` takes {what}")


def _invalid(key: str, reason: str) -> ApiError:
    field = f"filter.{key[:100]}" if key else "filter"
    return invalid_field(field, reason, ErrorCode.INVALID_FILTER)
