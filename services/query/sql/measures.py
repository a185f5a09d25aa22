"""What trends measure of events, as SQL: aggregates that several time buckets and values of a breakdown can share."""

from msgspec import Struct

from services.contract.api.trends import Measure
from services.query.request.filters import Condition, property_name
from services.query.sql.breakdown import OVER_VALUE
from services.query.sql.groups import event_group
from services.query.sql.json_text import INEXACT_FROM, double, inexact_integer, is_number, whole_number
from services.query.sql.parameters import Parameters
from services.query.sql.persons import PERSON
from services.query.sql.properties import event_property
from services.query.sql.traits import group_values, person_values

EXTREMES = ("min", "max")
SUMS = ("sum", "avg")
_NUMERIC = is_number("text")
# Whole numbers are summed by themselves: their sum may need more digits than a double has.
_FRACTION = "if(whole = 0, number, 0.)"
_FRACTIONS = f"sumKahanIfState({_FRACTION}, {_NUMERIC})"
_SUMS_STATE = f"{_FRACTIONS}, sumIf(abs({_FRACTION}), {_NUMERIC}), sumIf(whole, {_NUMERIC}), countIf({_NUMERIC})"


class Measured(Struct, frozen=True):
    """What is measured of each event `e`: columns of it, and a join behind those of `segment_sql`."""

    columns: str = ""
    join: str = ""


def measured_value(trait: Condition | None, key: str | None, measure: Measure, parameters: Parameters) -> Measured:
    """Of a property `key`, or of the trait that the condition is about; of neither nothing."""
    if key is None:
        return Measured()
    text = event_property(property_name(key), parameters) if trait is None else "measured.value"
    columns = f", {text} AS text, {double('text')} AS number"
    if measure in EXTREMES:
        columns += f", {inexact_integer('text', 'number')} AS integer"
    elif measure in SUMS:
        columns += f", {whole_number('text')} AS whole"
    return Measured(columns, "" if trait is None else _trait_join(trait, parameters))


def _trait_join(trait: Condition, parameters: Parameters) -> str:
    name = trait.key.partition(".")[2]
    if trait.group_type is None:
        who, values = PERSON, person_values(name, parameters)
    else:
        who = event_group(trait.group_type, parameters)
        place = parameters.add(trait.group_type, "String")
        values = group_values(place, name.partition(".")[2], parameters)
    return f" ANY LEFT JOIN ({values}) AS measured ON measured.who = {who}"


class MeasureSql(Struct, frozen=True):
    """`state` aggregates events. `merged` is the number of several states, `total` that of all states of a value, of which
    `by` is compared. Of sums the number is (sum of fractions, of their absolute values, of whole numbers, count), of extremes
    (double, integer or 0)."""

    state: str
    merged: str
    total: str
    by: str = "total"


def measure_sql(measure: Measure, percentile: float, events: str = "count()") -> MeasureSql:
    """`percentile` from 0 to 1. `events`: the aggregate that counts them."""
    state, by = _state(measure, percentile, events), "total"
    if measure in SUMS:
        by = "total.1 + toFloat64(total.3)"
        if measure == "avg":
            by = f"({by}) / nullIf(total.4, 0)"
        else:
            by += f" DESC, if(total.1 = 0 AND abs(total.3) >= {INEXACT_FROM:d}, total.3, toInt128(0))"
    elif measure in EXTREMES:
        by = "total.1 DESC NULLS LAST, if(toFloat64(total.2) = total.1, total.2, toInt128(0))"
    return MeasureSql(state, _merged(measure, percentile), _merged(measure, percentile, f" {OVER_VALUE}"), by)


def _state(measure: Measure, percentile: float, events: str) -> str:
    match measure:
        case "count":
            return events
        case "people":
            return "uniqExactState(person)"
        case "per_person":
            return f"({events}, uniqExactState(person))"
        case "percentile":
            return f"quantileExactInclusiveOrNullIfState({percentile!r})(number, {_NUMERIC})"
        case "sum" | "avg":
            return f"({_SUMS_STATE})"
    # Beside the extreme, that of the integers which doubles are too coarse for. OrNull: of no number there is none.
    exact = f"{measure}IfState(integer, {_NUMERIC} AND integer != 0)"
    return f"({measure}OrNullIfState(number, {_NUMERIC}), {exact})"


def _merged(measure: Measure, percentile: float, over: str = "") -> str:
    """`over`: what makes window functions of the aggregates."""
    match measure:
        case "count":
            return f"sum(state){over}"
        case "people":
            return f"uniqExactMerge(state){over}"
        case "per_person":
            return f"sum(state.1){over} / uniqExactMerge(state.2){over}"
        case "percentile":
            return f"quantileExactInclusiveOrNullIfMerge({percentile!r})(state){over}"
        case "sum" | "avg":
            sums = ", ".join(f"sum(state.{part}){over}" for part in (2, 3, 4))
            return f"(sumKahanIfMerge(state.1){over}, {sums})"
    return f"({measure}OrNullIfMerge(state.1){over}, {measure}IfMerge(state.2){over})"
