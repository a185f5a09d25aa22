"""Breaking a result down: which values get a line of their own, what is missing, what is `other`.

A value is its JSON text as ClickHouse writes it, so that types stay apart (1 and "1") and 1 and 1.0 are one. The text
of a missing property, and of no group, is empty.
"""

from msgspec import UNSET, Raw, Struct, UnsetType

from services.contract.api.fields import MAX_BREAKDOWN_CHARS, BreakdownKind
from services.query.request.breakdown import Breakdown
from services.query.sql.groups import event_group_text
from services.query.sql.parameters import Parameters
from services.query.sql.properties import event_property

# The text of a value that is too long for a line of its own: no JSON begins so.
_LONG = "*"


class Line(Struct, frozen=True):
    """What a line of the answer is about."""

    kind: BreakdownKind
    value: Raw | UnsetType = UNSET


def value_sql(breakdown: Breakdown, parameters: Parameters) -> str:
    """The value of an event `e`; of a group it needs the joins of that type."""
    if breakdown.group_type is None:
        text = event_property(breakdown.key, parameters)
    else:
        text = event_group_text(breakdown.group_type, parameters)
    return f"if(length({text}) > {MAX_BREAKDOWN_CHARS:d}, '{_LONG}', {text})"


def placed_sql(breakdown: Breakdown, rows: str) -> str:
    """`rows` (SQL with columns `value` and `weight`) with a column `place`: 1 is the value with most weight in all
    rows, ties by the value's text; all beyond the top have the same place, and the empty value."""
    weighed = f"SELECT *, sum(weight) OVER (PARTITION BY value) AS total FROM ({rows})"
    ranked = f"SELECT *, dense_rank() OVER (ORDER BY value = '{_LONG}', total DESC, value) AS rank FROM ({weighed})"
    return (
        f"SELECT *, least(rank, {breakdown.top + 1:d}) AS place, "
        f"if(rank > {breakdown.top:d}, '{_LONG}', value) AS label FROM ({ranked})"
    )


def line_of(label: str) -> Line:
    """`label` is a placed row's."""
    if label == _LONG:
        return Line("other")
    return Line("value", Raw(label.encode())) if label else Line("missing")
