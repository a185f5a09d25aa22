"""A long run cut into equal intervals: whether memory, disk, freshness, parts and query times stay flat."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import numpy as np
from msgspec import Struct

from tests.load.figures import Happened, accepted_rates, containers_of, percentiles
from tests.load.store import StoreMoment


class Interval(Struct, kw_only=True):
    """Figures of one. Times in milliseconds; what has no figure in it is left out."""

    begins_s: float
    accepted_s: float
    visible_ms: dict[str, float]
    query_ms: dict[str, float]
    mib: dict[str, float]
    cores: dict[str, float]
    bytes_an_event: float | None
    parts: int | None
    mutations: int | None


def cut(of: Happened, store: Sequence[StoreMoment], count: int) -> list[Interval]:
    """The time without the warm-up, in so many intervals."""
    begin, end = of.told.started_at + of.warm_up_s, of.told.started_at + of.plan.seconds
    borders = np.linspace(begin, end, count + 1)
    return [_interval(of, store, float(a), float(b)) for a, b in pairwise(borders)]


def _interval(of: Happened, store: Sequence[StoreMoment], begin: float, end: float) -> Interval:
    inside = [m for m in store if begin <= m.at < end and m.rows]
    containers = containers_of(of.moments, begin, end)
    asked = [one for one in of.told.asked if begin <= one.at < end and one.status == 200]
    took = {kind: [one.took_s for one in asked if one.kind == kind] for kind in sorted({one.kind for one in asked})}
    waited = percentiles([p.waited_s for p in of.probes if begin <= p.accepted < end])
    return Interval(
        begins_s=begin - of.told.started_at,
        accepted_s=float(np.mean(accepted_rates(of.sent, begin, end, end - begin))),
        visible_ms={name: waited[name] for name in ("p50", "p99") if name in waited},
        query_ms={kind: round(median(seconds) * 1000, 1) for kind, seconds in took.items()},
        mib={name: round(container.mib, 1) for name, container in containers.items()},
        cores={name: round(container.cores, 3) for name, container in containers.items()},
        bytes_an_event=round(inside[-1].bytes / inside[-1].rows, 2) if inside else None,
        parts=round(median(m.parts for m in inside)) if inside else None,
        mutations=max(m.mutations for m in inside) if inside else None,
    )
