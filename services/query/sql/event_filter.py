"""The events that a step of a funnel or a series of trends selects, as SQL."""

from services.query.request.event_filter import EventFilter
from services.query.sql.conditions import conditions_sql
from services.query.sql.parameters import Parameters


def event_filter_sql(event_filter: EventFilter, parameters: Parameters) -> str:
    """A condition over `events AS e` and JOIN_PERSONS' columns."""
    name = parameters.add(event_filter.event, "String")
    return f"(e.event = {name}{conditions_sql(event_filter.conditions, parameters)})"
