"""Bodies of queries with all that the API takes, in the short form that the console writes."""

from typing import Any

from hypothesis import strategies as st

Bodies = st.SearchStrategy[dict[str, Any]]
_OPERATORS = ("ne", "gt", "gte", "lt", "lte", "contains")
_odd = st.sampled_from(
    ["*", '"', '"a"', "null", "1", "1.0", "true", "[", "a, b", "[1]", " a", "\n", "€ü😀", "a.b", "%2e&=+", "<script>"]
)
names = _odd | st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
values = scalars | st.text(st.characters(codec="utf-8"), max_size=8) | _odd
events = st.none() | names | st.lists(names, min_size=2, max_size=3)
filters = st.dictionaries(
    names,
    values
    | st.lists(values, max_size=3)
    | st.booleans().map(lambda is_set: {"exists": is_set})
    | st.lists(values, max_size=3).map(lambda members: {"not_in": members})
    | st.dictionaries(st.sampled_from(_OPERATORS), values, min_size=1, max_size=3),
    min_size=1,
    max_size=3,
)
_zones = st.sampled_from(["Europe/Berlin", "America/St_Johns", "UTC"])


def some(required: dict[str, Any] | None = None, **optional: Any) -> Bodies:
    return st.fixed_dictionaries(required or {}, optional=optional)


_times = st.one_of(
    some({"last": st.sampled_from(["24h", "30d", "5w", "3months"])}),
    some({"this": st.sampled_from(["day", "week", "year"])}),
    some({"previous": st.sampled_from(["month", "quarter"])}),
    some(
        since=st.sampled_from(["2026-03-01", "2026-03-01T10:00:00+02:00", 1793491200, 1.5]), until=st.just("2026-04-01")
    ),
)
_more = some(timezone=_zones, whole_periods=st.booleans())
windows = st.tuples(_times, _more).map(lambda both: both[0] | both[1])
_did = st.tuples(
    some({"did": names}, filter=filters),
    windows,
    st.just({})
    | st.tuples(st.sampled_from(["at_least", "at_most", "exactly"]), st.integers(0, 9)).map(lambda c: dict([c])),
).map(lambda parts: parts[0] | parts[1] | parts[2])
_leaves = _did | some({"traits": filters}) | some({"saved": names}) | some({"did_not": names}, filter=filters)
cohorts = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda rules: {"and": rules}),
        st.lists(inner, min_size=2, max_size=3).map(lambda rules: {"or": rules}),
        inner.map(lambda rule: {"not": rule}),
    ),
    max_leaves=4,
)


def _query(required: dict[str, Any], **optional: Any) -> Bodies:
    who = some(required, compare=st.just("previous"), filter=filters, cohort=cohorts, aggregate_by=names, **optional)
    return st.tuples(who, windows).map(lambda both: both[0] | both[1])


_series = some(
    {"event": events},
    filter=filters,
    measure=st.sampled_from(["count", "people", "percentile"]),
    property=names,
    percentile=st.integers(0, 100) | st.floats(0, 100),
)
_buckets = {"interval": st.sampled_from(["hour", "month"]), "week_start": st.sampled_from(["monday", "sunday"])}
_breakdown = {"breakdown": names, "top": st.integers(1, 100)}
_seconds = st.integers(1, 31_622_400) | st.sampled_from([60, 3600, 7200, 86_400, 14 * 86_400])
BODIES: dict[str, Bodies] = {
    "trends": _query({"series": st.lists(_series, min_size=1, max_size=3)}, **_buckets, **_breakdown),
    "funnel": _query(
        {"steps": st.lists(some({"event": events}, filter=filters), min_size=2, max_size=4)},
        order=st.sampled_from(["ordered", "strict", "any"]),
        conversion_window_seconds=_seconds,
        people_of_step=st.integers(1, 20),
        **_breakdown,
    ),
    "retention": _query(
        {"born_event": events, "return_event": events},
        born_filter=filters,
        return_filter=filters,
        mode=st.sampled_from(["on", "on_or_after"]),
        first_time=st.booleans(),
        min_occurrences=st.integers(1, 1000),
        **_buckets,
        **_breakdown,
    ),
    "path": _query(
        {"start_event": events},
        end_event=names,
        direction=st.sampled_from(["after", "before"]),
        max_depth=st.integers(1, 20),
        top=st.integers(1, 100),
        collapse_repeats=st.booleans(),
        session_gap_seconds=_seconds,
    ),
    "cohort": some({"cohort": cohorts}, limit=st.integers(1, 1000)),
}
