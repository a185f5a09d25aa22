"""The events that a step of a funnel or a series of trends selects, as SQL."""

from collections.abc import Sequence

from services.query.request.event_filter import EventFilter, Names
from services.query.sql.conditions import condition_sql, conditions_sql
from services.query.sql.parameters import Parameters


def event_filter_sql(event_filter: EventFilter, parameters: Parameters) -> str:
    """A condition over `events AS e` and JOIN_PERSONS' columns, to stand in a WHERE."""
    names = names_sql(event_filter.event, parameters)
    return f"({names}{conditions_sql(event_filter.conditions, parameters)})"


def event_filter_columns(event_filters: Sequence[EventFilter], parameters: Parameters) -> list[str]:
    """The same as columns, 0 or 1. What stands behind an AND would be worked out again for each time that it is spoken of in
    there; here it is worked out once for each event that is of a name with conditions, also where several speak of it. In a
    WHERE beside it would be worked out twice."""
    filtered = [one.event for one in event_filters if one.conditions]
    is_filtered, among = parameters.alias(), ""
    columns = []
    for one in event_filters:
        column = names_sql(one.event, parameters)
        if one.conditions and not among and None not in filtered:
            any_of = " OR ".join(names_sql(names, parameters) for names in filtered)
            column, among = f"bitAnd({column}, ignore(({any_of}) AS {is_filtered}) = 0)", is_filtered
        for condition in one.conditions:
            column = f"bitAnd({column}, {condition_sql(condition, parameters, among)})"
        columns.append(column)
    return columns


def names_sql(names: Names, parameters: Parameters) -> str:
    if names is None:
        return "true"
    if isinstance(names, str):
        return f"e.event = {parameters.add(names, 'String')}"
    return f"e.event IN {parameters.add(list(names), 'Array(String)')}"
