"""An event name and a filter: what a step of a funnel and a series of trends select."""

from collections.abc import Sequence

from msgspec import Raw, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.query.request.filters import MAX_TRAIT_CONDITIONS, Condition, parse_filter


class Selection(Struct, frozen=True):
    """Events of this name for which all conditions hold."""

    event: str
    conditions: list[Condition]


def parse_selections(sent: Sequence[tuple[str, Raw]], field: str) -> list[Selection]:
    """(event, filter) each. Raises ApiError naming the place in the list `field`."""
    selections = [_parse(event, conditions, f"{field}[{i}]") for i, (event, conditions) in enumerate(sent)]
    traits = sum(condition.is_trait for selection in selections for condition in selection.conditions)
    if traits > MAX_TRAIT_CONDITIONS:
        raise ApiError(
            ErrorCode.INVALID_FILTER,
            f"`{field}` have {traits} conditions on traits; at most {MAX_TRAIT_CONDITIONS} are taken.",
            field=field,
        )
    return selections


def _parse(event: str, conditions: Raw, place: str) -> Selection:
    if "\0" in event:
        raise ApiError(
            ErrorCode.INVALID_FIELD, f"`{place}.event` must not contain the character NUL.", field=f"{place}.event"
        )
    try:
        return Selection(event, parse_filter(conditions))
    except ApiError as error:
        raise error.within(place) from error
