"""Dashboards: what of a saved query is its tile, what is its query; one time range for all tiles."""

from typing import Any

import msgspec
from msgspec import Struct

from services.console.queries.asked import Asked
from services.console.queries.kinds import KINDS, Kind
from services.console.queries.params import Pairs, Params
from services.console.queries.titles import title_of
from services.console.queries.windows import NAMES, read_window

Query = dict[str, Any]
# Of twelve columns.
WIDTHS = {"4": "a third", "6": "a half", "8": "two thirds", "12": "all of it"}
DEFAULT_WIDTH = 6
_EVENTS = Kind(name="events", page="", title="Events", parts=())
_OF_TILE = ("type", "title", "width")
_FORMS = ("since", "until", "last", "this", "previous")
_TIMELESS = ("cohort",)


class Tile(Struct, frozen=True):
    """`number`: its place, from 0."""

    number: int
    title: str
    width: int
    asked: Asked

    @property
    def query_text(self) -> str:
        """With the time of the page, as JSON."""
        return msgspec.json.encode({**(self.asked.body or {}), "type": self.asked.kind.name}).decode()


def tile_of(query: Query, number: int, window: dict[str, Any]) -> Tile:
    kind = KINDS.get(query.get("type", ""), _EVENTS)
    body = {name: value for name, value in query.items() if name not in _OF_TILE}
    if kind.name not in _TIMELESS:
        body = with_window(body, window)
    width = query.get("width")
    return Tile(
        number=number,
        title=query.get("title") or title_of(kind, body),
        width=width if isinstance(width, int) and 1 <= width <= 12 else DEFAULT_WIDTH,
        asked=Asked(kind, kind.params(body), body),
    )


def with_window(body: Query, window: dict[str, Any]) -> Query:
    """A window in one form replaces the other forms, as in the API's run of a dashboard."""
    says_when = any(name in window for name in _FORMS)
    kept = {name: value for name, value in body.items() if not says_when or name not in _FORMS}
    return kept | window


def range_of(pairs: Pairs) -> tuple[Params, dict[str, Any]]:
    """The range that an address says for all tiles: as parameters, and for bodies."""
    params = Params(pair for pair in pairs if pair[0] in NAMES).said()
    return params, read_window(params)


def saved_query(kind: Kind, body: Query, title: str) -> Query:
    return {"type": kind.name, "title": title, **body}


def moved(queries: list[Any], number: int, by: int) -> list[Any]:
    """The tile changes places with the one before (-1) or after it (1)."""
    other = number + by
    if not (0 <= number < len(queries) and 0 <= other < len(queries)):
        return queries
    found = list(queries)
    found[number], found[other] = found[other], found[number]
    return found
