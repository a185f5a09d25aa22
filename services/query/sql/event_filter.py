"""The events that a step of a funnel or a series of trends selects, as SQL."""

from services.query.request.event_filter import EventFilter, Names
from services.query.sql.conditions import conditions_sql
from services.query.sql.parameters import Parameters


def event_filter_sql(event_filter: EventFilter, parameters: Parameters) -> str:
    """A condition over `events AS e` and JOIN_PERSONS' columns."""
    names = names_sql(event_filter.event, parameters)
    return f"({names}{conditions_sql(event_filter.conditions, parameters)})"


def names_sql(names: Names, parameters: Parameters) -> str:
    if names is None:
        return "true"
    if isinstance(names, str):
        return f"e.event = {parameters.add(names, 'String')}"
    return f"e.event IN {parameters.add(list(names), 'Array(String)')}"
