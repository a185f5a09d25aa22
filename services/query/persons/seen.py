"""Where each of the people behind a number has an event of their own: so much of the events is read to find their ids."""

from typing import Any

from msgspec import Struct

from services.contract.api.people import Cell
from services.query.insights.cohort import CohortSpec
from services.query.insights.funnel import FunnelSpec
from services.query.insights.path import PathSpec
from services.query.insights.retention import RetentionSpec
from services.query.insights.trends import TrendsSpec
from services.query.request.cohorts import Listed, leaves
from services.query.request.event_filter import EventFilter, Names, listed_names
from services.query.request.time_buckets import bucket_window
from services.query.request.time_window import EARLIEST_US, LATEST_US, UTC_ZONE, TimeWindow


class Seen(Struct, frozen=True):
    """An event in this time window, of one of these names; None: of any. `lists`: or an id in one of these uploaded lists, of
    which nothing else may be known."""

    window: TimeWindow
    names: Names = None
    lists: tuple[str, ...] = ()


_EVER = TimeWindow(EARLIEST_US, LATEST_US, UTC_ZONE)


def seen_of(spec: Any, cell: Cell) -> Seen:
    """Of the people of a cell of the query's answer."""
    match spec:
        case TrendsSpec():
            names = spec.series[cell.series or 0].event_filter.event
            return Seen(bucket_window(spec.window, spec.starts, cell.bucket), names)
        case RetentionSpec():
            return Seen(bucket_window(spec.window, spec.starts, cell.cohort or 0), spec.born.event)
        case FunnelSpec():
            # In the order `any` each step may be the first one.
            return Seen(spec.window, _names_of(spec.steps if spec.order == "any" else spec.steps[:1]))
        case PathSpec():
            return Seen(spec.window, spec.start_event)
        case CohortSpec():
            return Seen(_EVER, lists=tuple(leaf.list_id for leaf in leaves(spec.rule) if isinstance(leaf, Listed)))
    raise TypeError(type(spec))


def _names_of(filters: list[EventFilter]) -> Names:
    names: dict[str, None] = {}
    for one in filters:
        if one.event is None:
            return None
        names |= dict.fromkeys(listed_names(one.event))
    return tuple(names)
