"""Breaking a result down: which values get a line of their own, what is missing, what is `other`.

A value is its JSON text as ClickHouse writes it, so that types stay apart (1 and "1") and 1 and 1.0 are one, and so are 0
and -0.0, and 1e20 and its digits. The text of a missing property, and of no group, is empty. An array or object whose text
may stand for another one too has no line of its own.
"""

from msgspec import UNSET, Raw, Struct, UnsetType

from services.contract.api.fields import MAX_BREAKDOWN_CHARS, BreakdownKind
from services.contract.repeated_names import first_of_each_name
from services.query.request.breakdown import Breakdown
from services.query.sql.groups import event_group, key_text
from services.query.sql.json_text import (
    is_ambiguous,
    is_large,
    json_text,
    large_as_double_written,
    without_negative_zeros,
)
from services.query.sql.parameters import Parameters
from services.query.sql.properties import event_property

# The text of a value that is too long for a line of its own, or ambiguous: no JSON begins so.
_LONG = "*"
_NO_LINE = "?"  # nor so
# What may stand for a value that is written in another way too: whole numbers beyond 64 bits, arrays, objects, -0.
_OTHER_WRITTEN = r"^([+[{]|-0$)"
OVER_VALUE = "OVER (PARTITION BY value)"


class Line(Struct, frozen=True):
    """What a line of the answer is about."""

    kind: BreakdownKind
    value: Raw | UnsetType = UNSET


def value_text(breakdown: Breakdown, parameters: Parameters, condition: str = "") -> str:
    """What `value_sql` is worked out from, of an event `e`; of a group it needs the joins of that type. `condition`: of other
    events it is empty, and nothing is looked for. Group by it before values are worked out: of few texts, not of each event.
    """
    if breakdown.group_type is None:
        text = event_property(breakdown.key, parameters, condition)
    else:
        text = event_group(breakdown.group_type, parameters)
        text = f"if({condition}, {text}, '')" if condition else text
    # Of a text that is too long for a line, no more than says so.
    return f"substring({text}, 1, {MAX_BREAKDOWN_CHARS + 1:d})"


def value_sql(breakdown: Breakdown, text: str) -> str:
    """The value, of what `value_text` gave. Once in a SELECT."""
    if breakdown.group_type is not None:
        written = f"{key_text(text)} AS breakdown_text"
        return f"if(length({written}) > {MAX_BREAKDOWN_CHARS:d}, '{_LONG}', breakdown_text)"
    return _value_sql(text, "breakdown_text", _LONG)


def by_value(breakdown: Breakdown, by_text: str) -> str:
    """Rows (SQL) with a column `value_text`, with `value` in its place. Of one value there may be several, of different texts."""
    return f"SELECT * EXCEPT value_text, {value_sql(breakdown, 'value_text')} AS value FROM ({by_text})"


def _value_sql(text: str, name: str, no_line: str) -> str:
    """`name`: of the text in the statement; `no_line`: of values that have no line of their own."""
    # Nearly all texts are what the second condition finds: short SQL, because each function takes time before a row is read.
    return (
        f"multiIf(length({text} AS {name}) > {MAX_BREAKDOWN_CHARS:d}, '{no_line}', NOT match({name}, '{_OTHER_WRITTEN}'), "
        f"{name}, {name} = '-0', '0', {is_large(name)}, {large_as_double_written(name)}, {is_ambiguous(name)}, '{no_line}', "
        f"{without_negative_zeros(name)})"
    )


def placed_sql(breakdown: Breakdown, rows: str, total: str = f"sum(weight) {OVER_VALUE}", by: str = "total") -> str:
    """`rows` (SQL with a column `value`) with a column `place`: 1 is the value with the largest `total` of all its rows
    (`by`: what is compared of it), ties by the value's text; all beyond the top have the same place, and the empty value."""
    weighed = f"SELECT *, {total} AS total FROM ({rows})"
    order = f"value = '{_LONG}', {by} DESC NULLS LAST, value"
    ranked = f"SELECT *, dense_rank() OVER (ORDER BY {order}) AS rank FROM ({weighed})"
    return (
        f"SELECT *, least(rank, {breakdown.top + 1:d}) AS place, "
        f"if(rank > {breakdown.top:d}, '{_LONG}', value) AS label FROM ({ranked})"
    )


def label_sql(breakdown: Breakdown, kind: str, value: Raw | UnsetType, parameters: Parameters) -> str:
    """The label of a line that an answer had: its value is read as stored ones are, so that it has the same text."""
    if kind != "value" or value is UNSET:
        return f"'{_LONG}'" if kind == "other" else "''"
    given = parameters.add(f'{{"v":{bytes(value).decode()}}}', "String")
    name = parameters.add("v", "String")
    if breakdown.group_type is not None:
        return f"toJSONString(JSONExtractString({given}, {name}))"
    # A value that ClickHouse cannot read is none of an event; its text would be that of a missing one.
    return f"ifNull(nullIf({_value_sql(json_text(given, name), 'label_text', _NO_LINE)}, ''), '{_NO_LINE}')"


def line_of(label: str) -> Line:
    """`label` is a placed row's."""
    if label == _LONG:
        return Line("other")
    return Line("value", Raw(first_of_each_name(label.encode()))) if label else Line("missing")
