"""Typed conditions -> SQL over `events AS e` and server-side parameters.

A property is looked up once as JSON text (json_text.py). Integers compare exactly, other numbers as doubles.
"""

from collections.abc import Sequence

from services.query.request.filters import Condition, Scalar, property_name
from services.query.sql.groups import event_group, event_group_text, event_joins
from services.query.sql.json_text import INEXACT_FROM, array_members, digits, double, is_large, is_number, is_string
from services.query.sql.parameters import Parameters
from services.query.sql.persons import PERSON, PERSON_ID
from services.query.sql.properties import event_members, event_property
from services.query.sql.traits import group_holders, trait_holders

# The SQL of a field of the event, and the type of what it is compared with.
_FIELDS = {
    "event": ("e.event", "String"),
    "distinct_id": ("e.distinct_id", "String"),
    "person_id": (PERSON_ID, "String"),
    "event_id": ("e.event_id", "UUID"),
    "timestamp": ("toUnixTimestamp64Micro(e.timestamp)", "Int64"),
    "received_at": ("toUnixTimestamp64Micro(e.received_at)", "Int64"),
}
_COMPARISONS = {"eq": "=", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_SHORT_SQL = 40  # characters of what is no more than a name
_INT64_MIN, _INT64_MAX, _UINT64_MAX = -(2**63), 2**63 - 1, 2**64 - 1


def conditions_sql(conditions: Sequence[Condition], parameters: Parameters) -> str:
    """Each condition behind an AND. Needs the joins of `joins_of`."""
    return "".join(f" AND ({condition_sql(condition, parameters)})" for condition in conditions)


def joins_of(
    conditions: Sequence[Condition],
    parameters: Parameters,
    *,
    persons: bool = False,
    named: bool = False,
    group_types: Sequence[str | None] = (),
) -> str:
    """The joins that conditions need, and those that are asked for beside them: see `event_joins`."""
    return event_joins(
        [*group_types, *(condition.group_type for condition in conditions)],
        parameters,
        persons=persons or any(condition.needs_persons for condition in conditions),
        named=named or any(condition.needs_names for condition in conditions),
    )


def condition_sql(condition: Condition, parameters: Parameters, among: str = "") -> str:
    """0 or 1. `among`: a condition on the events that matter; of others it may be either."""
    if condition.is_field:
        return _field(condition, parameters)
    if condition.is_trait:
        return _trait(condition, parameters)
    name = property_name(condition.key)
    members = event_members(name, parameters) if _needs_exact_members(condition) else None
    return value_condition(event_property(name, parameters, among), condition, parameters, members)


def _needs_exact_members(condition: Condition) -> bool:
    """Whether a number beyond 64 bits, or a string of its digits, is looked for in an array."""
    operand = condition.operand
    if condition.operator != "contains" or isinstance(operand, bool):
        return False
    if isinstance(operand, str):
        return len(operand) > len(str(_INT64_MAX)) and operand.removeprefix("-").isdecimal()
    return isinstance(operand, int | float) and not _INT64_MIN < operand <= _UINT64_MAX


def _trait(condition: Condition, parameters: Parameters) -> str:
    """People (or groups) who have such a value, found once; the opposite operators ask for all others."""
    # A trait's name may be empty.
    _, has_trait, trait = condition.key.removeprefix("group.").partition(".")
    if condition.group_type is not None and not has_trait:
        return value_condition(event_group_text(condition.group_type, parameters), condition, parameters)
    positive = condition.positive()
    negation = "" if positive is condition else "NOT "
    if condition.group_type is None:
        return f"{PERSON} {negation}IN ({trait_people(positive, parameters)})"
    place = parameters.add(condition.group_type, "String")
    value, arrays = _trait_value(positive, trait, parameters)
    groups = group_holders(place, trait, value, parameters, arrays=arrays)
    return f"{event_group(condition.group_type, parameters)} {negation}IN ({groups})"


def trait_people(condition: Condition, parameters: Parameters, who: str = PERSON) -> str:
    """One column, `who`: the people with the trait for whom the condition holds; `who`: PERSON or PERSON_ID."""
    # Of `group.<type>` it is the key, which is no array.
    value, arrays = _trait_value(condition, condition.key.removeprefix("group.").partition(".")[2], parameters)
    return trait_holders(condition.key, value, parameters, who, arrays=arrays)


def _trait_value(condition: Condition, trait: str, parameters: Parameters) -> tuple[str, bool]:
    """SQL about the text `value` of a trait, and whether of an array that is to be the texts of its members."""
    arrays = _needs_exact_members(condition) and trait != ""
    return value_condition("value", condition, parameters, array_members("value") if arrays else None), arrays


def _field(condition: Condition, parameters: Parameters) -> str:
    (column, kind), operator, operand = _FIELDS[condition.key], condition.operator, condition.operand
    if operator == "exists":
        return "1" if operand else "0"
    if operator in ("in", "not_in"):
        negation = "NOT " if operator == "not_in" else ""
        return f"{column} {negation}IN {parameters.add(operand, f'Array({kind})')}"
    if operator == "contains":
        return f"position({column}, {parameters.add(operand, 'String')}) > 0"
    return f"{column} {_COMPARISONS[operator]} {parameters.add(operand, kind)}"


def value_condition(text: str, condition: Condition, parameters: Parameters, members: str | None = None) -> str:
    """Whether a value holds, given as the SQL of its JSON text; `members`: of the texts of its members, if it is an array."""
    if len(text) <= _SHORT_SQL:
        return _holds(text, condition, parameters, members)
    # It is spoken of many times: a filter of many conditions would be longer than a statement may be.
    name = parameters.alias()
    return f"ignore({text} AS {name}) = 0 AND ({_holds(name, condition, parameters, members)})"


def _holds(text: str, condition: Condition, parameters: Parameters, members: str | None) -> str:
    operator, operand = condition.operator, condition.operand
    if operator == "exists":
        return f"{text} != ''" if operand else f"{text} = ''"
    if operator == "contains":
        return _contains(text, operand, parameters, members or f"JSONExtractArrayRaw({text})")
    if operator in ("gt", "gte", "lt", "lte"):
        return _ordered(text, _COMPARISONS[operator], operand, parameters)
    equal = _equals_any(text, operand if isinstance(operand, list) else [operand], parameters)
    return f"NOT ({equal})" if operator in ("ne", "not_in") else equal


def _equals_any(text: str, members: Sequence[Scalar], parameters: Parameters) -> str:
    """JSON text that equals one of the members, by type and value. Without members: never."""
    strings = [m for m in members if isinstance(m, str)]
    numbers = [m for m in members if isinstance(m, (int, float)) and not isinstance(m, bool)]
    literals = [{None: "null", True: "true", False: "false"}[m] for m in members if m is None or isinstance(m, bool)]
    found = []
    if strings:
        listed = parameters.add(strings, "Array(String)")
        found.append(f"{is_string(text)} AND has({listed}, JSONExtractString({text}))")
    if numbers:
        found.append(_equals_number(text, numbers, parameters))
    if literals:
        found.append(f"has({parameters.add(literals, 'Array(String)')}, {text})")
    return "(" + " OR ".join(f"({sql})" for sql in found or ["0"]) + ")"


def _equals_number(text: str, numbers: Sequence[float], parameters: Parameters) -> str:
    """Each stored type is looked up among the members that it can hold, so that 2^53 and 2^53 + 1 stay different, and
    so do integers of any size. A member that was sent as a double is compared as such, also with integers: ClickHouse
    writes doubles above 2^53 as integers, not with the digits of their exact value."""
    integers = [int(n) for n in numbers if isinstance(n, int) or n.is_integer()]
    signed = parameters.add([n for n in integers if _INT64_MIN <= n <= _INT64_MAX], "Array(Int64)")
    unsigned = parameters.add([n for n in integers if _INT64_MAX < n <= _UINT64_MAX], "Array(UInt64)")
    large = parameters.add([str(n) for n in integers if not _INT64_MIN <= n <= _UINT64_MAX], "Array(String)")
    doubles = parameters.add([_double(n) for n in numbers], "Array(Float64)")
    equal = _by_number_type(
        text,
        f"has({signed}, JSONExtractInt({text}))",
        f"has({unsigned}, JSONExtractUInt({text}))",
        f"has({large}, {digits(text)})",
        f"has({doubles}, JSONExtractFloat({text}))",
    )
    coarse = [n for n in numbers if isinstance(n, float) and abs(n) >= INEXACT_FROM]
    if coarse:
        equal = f"({equal} OR has({parameters.add(coarse, 'Array(Float64)')}, {double(text)}))"
    return f"{is_number(text)} AND {equal}"


def _ordered(text: str, comparison: str, operand: Scalar, parameters: Parameters) -> str:
    """Numbers with numbers, strings with strings (by Unicode code point), nothing else."""
    if isinstance(operand, str):
        return f"{is_string(text)} AND JSONExtractString({text}) {comparison} {parameters.add(operand, 'String')}"
    bound = _number_parameter(operand or 0, parameters)
    if isinstance(operand, float) and abs(operand) >= INEXACT_FROM:
        return f"{is_number(text)} AND {double(text)} {comparison} {bound}"  # as it is equal: see _equals_number
    return f"{is_number(text)} AND " + _by_number_type(
        text,
        f"JSONExtractInt({text}) {comparison} {bound}",
        f"JSONExtractUInt({text}) {comparison} {bound}",
        f"{double(text)} {comparison} {bound}",
        f"JSONExtractFloat({text}) {comparison} {bound}",
    )


def _contains(text: str, operand: Scalar, parameters: Parameters, members: str) -> str:
    """An array with such a member; of a string operand also a string with it inside."""
    member = _equals_any("member", [operand], parameters)
    in_array = f"startsWith({text}, '[') AND arrayExists(member -> {member}, {members})"
    if not isinstance(operand, str):
        return in_array
    inside = f"position(JSONExtractString({text}), {parameters.add(operand, 'String')}) > 0"
    return f"({in_array}) OR ({is_string(text)} AND {inside})"


def _by_number_type(text: str, signed: str, unsigned: str, large: str, other: str) -> str:
    kind = f"JSONType({text})"
    return f"multiIf({kind} = 'Int64', {signed}, {kind} = 'UInt64', {unsigned}, {is_large(text)}, {large}, {other})"


def _number_parameter(number: float, parameters: Parameters) -> str:
    if isinstance(number, int) and _INT64_MIN <= number <= _INT64_MAX:
        return parameters.add(number, "Int64")
    if isinstance(number, int) and 0 < number <= _UINT64_MAX:
        return parameters.add(number, "UInt64")
    return parameters.add(_double(number), "Float64")


def _double(number: float) -> float:
    """The nearest double; of integers that are larger than any, infinity."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
