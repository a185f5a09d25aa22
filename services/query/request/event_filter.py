"""An event name and a filter: what a step of a funnel and a series of trends select."""

from collections.abc import Sequence

from msgspec import Raw, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.validation import refuse_nul
from services.query.request.filters import MAX_TRAIT_CONDITIONS, Condition, parse_filter


class EventFilter(Struct, frozen=True):
    """Events of this name for which all conditions hold."""

    event: str
    conditions: list[Condition]


def parse_event_filters(sent: Sequence[tuple[str, Raw]], field: str) -> list[EventFilter]:
    """(event, filter) each. Raises ApiError naming the place in the list `field`."""
    event_filters = [_parse(event, conditions, f"{field}[{i}]") for i, (event, conditions) in enumerate(sent)]
    traits = sum(condition.is_trait for event_filter in event_filters for condition in event_filter.conditions)
    if traits > MAX_TRAIT_CONDITIONS:
        raise ApiError(
            ErrorCode.INVALID_FILTER,
            f"`{field}` have {traits} conditions on traits; at most {MAX_TRAIT_CONDITIONS} are taken.",
            field=field,
        )
    return event_filters


def _parse(event: str, conditions: Raw, place: str) -> EventFilter:
    refuse_nul(event, f"{place}.event")
    try:
        return EventFilter(event, parse_filter(conditions))
    except ApiError as error:
        raise error.within(place) from error
