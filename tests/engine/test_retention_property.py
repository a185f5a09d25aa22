"""Retention with its options equals the brute-force oracle on random histories."""

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.runtime.settings import ClickHouseSettings
from tests.support import oracle_retention
from tests.support.examples import examples
from tests.support.histories import NAMES, ODD_MOMENTS, dense_histories, histories, store, wide_windows
from tests.support.oracle_breakdown import line_text
from tests.support.query_client import QueryClient

_examples = examples(25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
zones = st.sampled_from(sorted(ODD_MOMENTS))
names = st.sampled_from(NAMES[:2])
conditions: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b", "n"]), st.fixed_dictionaries({"exists": st.booleans()}), max_size=1),
    st.sampled_from([{"a": ["pro", 1, True]}, {"n": {"ne": 1}}, {"person_id": ["u1", "u2", "someone"]}]),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["on", "on_or_after"]),
        "first_time": st.booleans(),
        "born_filter": conditions,
        "return_filter": conditions,
        "min_occurrences": st.integers(1, 3),
        "week_start": st.sampled_from(["monday", "sunday"]),
        "breakdown": st.sampled_from(["a", "a.b", "b", "n"]),
        "top": st.integers(1, 3),
    },
)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


@_examples
@given(st.data())
def test_retention_with_its_options_is_that_of_the_oracle(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    zone = data.draw(zones)
    history = data.draw(st.one_of(dense_histories(zone, max_events=60), histories(zone, max_events=60)))
    foreign = data.draw(histories(zone, max_events=5))
    (project, key), (other, _) = next(client.projects), next(client.projects)
    store(clickhouse, {project: history, other: foreign}, repeats=15)
    for interval in ("hour", "day", "week", "month"):
        since, until = data.draw(wide_windows(zone))
        born, back = data.draw(names), data.draw(names)
        chosen: dict[str, Any] = data.draw(options)
        answer = client.ask(
            "/query/retention",
            key,
            {
                **{"since": since.isoformat(), "until": until.isoformat(), "timezone": zone, "interval": interval},
                **{"born_event": born, "return_event": back, **chosen},
            },
        )
        matrix, lines = oracle_retention.retention(
            history, born, back, since, until, interval, ZoneInfo(zone), **chosen
        )
        assert answer["matrix"] == matrix
        assert answer["complete"] == [True] * len(matrix)
        if "breakdown" in chosen:
            found = {line_text(line): line["matrix"] for line in answer["breakdown"]}
            assert list(found) == list(lines)
            assert found == lines
