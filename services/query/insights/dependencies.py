"""What a query's answer depends on besides its data: the query, and the clock as far as the answer shows it."""

from datetime import datetime
from typing import Any

from msgspec import Struct
from xxhash import xxh3_128

from services import __version__
from services.query.execution.fingerprint import Months, months_of
from services.query.insights.cohort import CohortSpec
from services.query.insights.funnel import FunnelSpec
from services.query.insights.registry import Asked
from services.query.insights.retention import RetentionSpec
from services.query.insights.trends import Series, TrendsSpec
from services.query.request.breakdown import Breakdown
from services.query.request.filters import Condition, property_name
from services.query.request.time_buckets import complete_buckets


def key_of(project_id: str, asked: Asked, more: object, now: datetime) -> bytes:
    """Equal for queries whose answers are equal bytes while the data are the same. `more`: what else the answer shows."""
    said = (__version__, project_id, asked, _complete(asked, now), more)
    return xxh3_128(repr(said).encode()).digest()


def months_read(asked: Asked) -> Months:
    """Months outside of which no event can change the answer."""
    months: set[int] = set()
    for one in (asked, *([asked.before] if asked.before else [])):
        spec = one.spec
        segment = getattr(spec, "segment", None)
        cohort = getattr(spec, "cohort", None) if segment is None else segment.cohort
        # Rules have time windows of their own, or ask of everybody of whom anything is known.
        if isinstance(spec, CohortSpec) or cohort is not None or getattr(spec, "first_time", False):
            return None
        months.update(months_of(spec.read_window if isinstance(spec, FunnelSpec) else spec.window))
    return sorted(months)


def properties_read(spec: object) -> set[str]:
    """Of events: those that conditions, a breakdown and measures of a typed query speak of."""
    if isinstance(spec, list | tuple):
        return set().union(*map(properties_read, spec))
    if not isinstance(spec, Struct):
        return set()
    read = set().union(*(properties_read(getattr(spec, name)) for name in spec.__struct_fields__))
    if isinstance(spec, Condition) and not spec.is_field and not spec.is_trait:
        read.add(property_name(spec.key))
    if isinstance(spec, Breakdown) and spec.group_type is None:
        read.add(spec.key)
    if isinstance(spec, Series) and spec.key is not None and spec.trait is None:
        read.add(property_name(spec.key))
    return read


def _complete(asked: Asked, now: datetime) -> list[Any]:
    """Which time buckets have ended, where the answer says so."""
    spec = asked.spec
    shown: list[Any] = [] if asked.before is None else _complete(asked.before, now)
    if isinstance(spec, TrendsSpec | RetentionSpec):
        shown += complete_buckets(spec.starts, spec.window.zone, spec.interval, now, sundays=spec.sundays)
    return shown
