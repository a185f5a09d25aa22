"""Trends equal the brute-force oracle on random histories: every measure, every interval, with and without lines."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.runtime.settings import ClickHouseSettings
from tests.support import oracle_trends
from tests.support.examples import examples
from tests.support.histories import NAMES, ODD_MOMENTS, dense_histories, histories, store, wide_windows
from tests.support.oracle_breakdown import line_text
from tests.support.query_client import QueryClient

_examples = examples(25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
zones = st.sampled_from(sorted(ODD_MOMENTS))
names = st.sampled_from(NAMES[:3])
keys = st.sampled_from(["a", "a.b", "b", "n", "schlüssel 'x'", "properties.n"])
filters: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {}, {"a": {"exists": True}}, {"n": {"ne": 1}}])
# Sums of doubles that take each other away depend on their order, which the store does not keep.
_LARGE = [2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 1e300]
series = st.one_of(
    st.fixed_dictionaries(
        {"event": names, "filter": filters, "measure": st.sampled_from(["count", "people", "per_person"])}
    ),
    st.fixed_dictionaries({"event": names, "measure": st.sampled_from(["min", "max", "percentile"]), "property": keys}),
    keys.flatmap(
        lambda key: st.fixed_dictionaries(
            {
                "event": names,
                "measure": st.sampled_from(["sum", "avg"]),
                "property": st.just(key),
                "filter": st.just({key: {"not_in": _LARGE}}),
            }
        )
    ),
    st.fixed_dictionaries(
        {
            "event": names,
            "measure": st.just("percentile"),
            "property": keys,
            "percentile": st.sampled_from([0, 12.5, 95, 100]),
        }
    ),
)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


@_examples
@given(st.data())
def test_trends_are_those_of_the_oracle(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    zone = data.draw(zones)
    history = data.draw(st.one_of(dense_histories(zone), histories(zone)))
    foreign = data.draw(histories(zone, max_events=5))
    (project, key), (other, _) = next(client.projects), next(client.projects)
    store(clickhouse, {project: history, other: foreign}, repeats=10)
    for interval in ("hour", "day", "week", "month"):
        since, until = data.draw(wide_windows(zone))
        asked = data.draw(st.lists(series, min_size=1, max_size=2))
        breakdown, top = data.draw(st.one_of(st.none(), keys)), data.draw(st.integers(1, 4))
        sundays = data.draw(st.booleans())
        answer = client.ask(
            "/query/trends",
            key,
            {
                **{"since": since.isoformat(), "until": until.isoformat(), "timezone": zone, "interval": interval},
                **{"series": asked, "breakdown": breakdown, "top": top},
                "week_start": "sunday" if sundays else "monday",
            },
        )
        starts = [datetime.fromisoformat(start) for start in answer["periods"]]
        assert starts[0] <= since
        for of, found in zip(asked, answer["series"], strict=True):
            if breakdown is not None and oracle_trends.are_close(history, of, since, until, breakdown):
                continue
            expected = oracle_trends.trend(history, of, since, until, interval, ZoneInfo(zone), breakdown, top, sundays)
            lines = {"" if breakdown is None else line_text(line): line["values"] for line in found["lines"]}
            assert list(lines) == list(expected)
            for text, numbers in expected.items():
                assert lines[text] == [_about(number, str(of.get("measure"))) for number in numbers]
            assert all(len(values) == len(starts) for values in lines.values())


def _about(number: float | None, measure: str) -> Any:
    """The least and the largest are exact."""
    return number if number is None or measure in ("min", "max") else pytest.approx(number, rel=1e-9, abs=1e-9)
