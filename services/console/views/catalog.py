"""The catalog as pages show it."""

from typing import Any

from msgspec import UNSET, Struct

from services.console.frame.show import brief, share, value_text
from services.contract.api.catalog import CatalogEvent, CatalogProperty, CatalogResult

# Names of a list that one page shows: a search finds the others.
SHOWN_NAMES = 100
_SHOWN_VALUES = 6


class PropertyRow(Struct, frozen=True):
    """A property or trait. `types` and `values`: most first."""

    name: str
    share: float
    types: str
    values: list[str]
    more_values: int


def catalog_body(search: str) -> dict[str, Any]:
    return {"limit": SHOWN_NAMES, **({"search": search} if search else {})}


def property_rows(properties: list[CatalogProperty]) -> list[PropertyRow]:
    return [
        PropertyRow(
            each.name,
            each.share,
            ", ".join(_type(name, part) for name, part in sorted(each.types.items(), key=lambda one: -one[1])),
            [brief(value_text(value.value)) for value in each.top[:_SHOWN_VALUES]],
            max(0, len(each.top) - _SHOWN_VALUES),
        )
        for each in properties
    ]


def _type(name: str, part: float) -> str:
    return name if part == 1 else f"{name} {share(part)}"


def event_of(result: CatalogResult, name: str) -> CatalogEvent | None:
    return next((event for event in result.events if event.event == name), None)


def sample_of(result: CatalogResult) -> tuple[int, list[PropertyRow]]:
    """How many events were looked at, and their properties."""
    if result.properties is UNSET:
        return 0, []
    return result.properties.sample, property_rows(result.properties.properties)
