"""What a result is broken down by: a property, or the group of a type."""

from msgspec import Struct

from services.contract.api.validation import invalid_field, refuse_nul
from services.query.request.filters import FIELDS, MAX_KEY_LEVELS, TRAITS, property_hint, property_name

DEFAULT_TOP = 10
_GROUP = "group."


class Breakdown(Struct, frozen=True):
    """By the property `key`, or by the group of a type; the `top` values with most weight get lines of their own."""

    key: str
    group_type: str | None
    top: int


def parse_breakdown(key: str | None, top: int | None) -> Breakdown | None:
    """Raises ApiError for what is neither a property nor a type of group."""
    if key is None:
        return None
    refuse_nul(key, "breakdown")
    is_group = key.startswith(_GROUP) and key != _GROUP and key.count(".") == 1
    if key in FIELDS or (key.startswith(TRAITS) and not is_group):
        raise invalid_field(
            "breakdown",
            f"takes a property of events, or `group.<type>`; `{key[:100]}` is neither. {property_hint(key)}",
        )
    if key.count(".") >= MAX_KEY_LEVELS:
        raise invalid_field("breakdown", f"goes deeper than {MAX_KEY_LEVELS} levels")
    return Breakdown(
        key if is_group else property_name(key), key.removeprefix(_GROUP) if is_group else None, top or DEFAULT_TOP
    )
