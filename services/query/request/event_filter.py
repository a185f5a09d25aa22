"""An event name and a filter: what a step of a funnel and a series of trends select."""

from collections.abc import Sequence

from msgspec import Raw, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.validation import refuse_nul
from services.query.request.filters import MAX_TRAIT_CONDITIONS, Condition, parse_filter

# One name, any of several, or None: whatever its name.
Names = str | tuple[str, ...] | None


class EventFilter(Struct, frozen=True):
    """Events of these names for which all conditions hold."""

    event: Names
    conditions: list[Condition]


def parse_names(sent: str | list[str] | None, field: str) -> Names:
    """Raises ApiError. A list of one name is that name."""
    names = sent if isinstance(sent, list) else [sent]
    for name in names:
        refuse_nul(name, field)
    if not isinstance(sent, list):
        return sent
    different = tuple(dict.fromkeys(sent))
    return different[0] if len(different) == 1 else different


def shown_names(names: Names) -> str | list[str] | None:
    """As answers have them."""
    return list(names) if isinstance(names, tuple) else names


def can_be_one(one: Names, other: Names) -> bool:
    """Whether an event may be of both."""
    if one is None or other is None:
        return True
    return not set(listed_names(one)).isdisjoint(listed_names(other))


def listed_names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def parse_event_filters(sent: Sequence[tuple[str | list[str] | None, Raw]], field: str) -> list[EventFilter]:
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


def _parse(event: str | list[str] | None, conditions: Raw, place: str) -> EventFilter:
    names = parse_names(event, f"{place}.event")
    try:
        return EventFilter(names, parse_filter(conditions))
    except ApiError as error:
        raise error.within(place) from error
