"""Any event, or any of several, in the place of one: in series, steps, born, return and start, as the oracle has it."""

import dataclasses
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.runtime.settings import ClickHouseSettings
from tests.support import oracle, oracle_funnel, oracle_retention, oracle_trends
from tests.support.examples import examples
from tests.support.histories import NAMES, dense_histories, histories, store, wide_windows
from tests.support.oracle_breakdown import line_text
from tests.support.query_client import QueryClient

_examples = examples(25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
ZONE = "Europe/Berlin"
names: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), st.sampled_from(NAMES)
)
filters: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {}, {"a": {"exists": True}}, {"n": {"ne": 1}}])
steps = st.lists(st.tuples(names, filters), min_size=2, max_size=4)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


@_examples
@given(st.data())
def test_answers_are_those_of_the_oracle(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    history = data.draw(st.one_of(dense_histories(ZONE, 25), histories(ZONE, 25)))
    project, key = next(client.projects)
    store(clickhouse, {project: history}, repeats=10)
    since, until = data.draw(wide_windows(ZONE))
    window = {"since": since.isoformat(), "until": until.isoformat(), "timezone": ZONE}
    zone = ZoneInfo(ZONE)

    born, back = data.draw(names), data.draw(names)
    body: dict[str, Any] = {**window, "born_event": born, "return_event": back, "breakdown": "a"}
    answer = client.ask("/query/retention", key, body)
    matrix, by_line = oracle_retention.retention(history, born, back, since, until, "day", zone, breakdown="a")
    assert answer["matrix"] == matrix
    assert {line_text(line): line["matrix"] for line in answer["breakdown"]} == by_line

    start = data.draw(names)
    tree = client.ask("/query/path", key, {**window, "start_event": start, "max_depth": 3})
    tree["event"] = tree.pop("root")
    expected = dataclasses.asdict(oracle.path(history, start, since, until, max_depth=3))
    if isinstance(start, list) and len(set(start)) == 1:
        expected["event"] = start[0]
    elif isinstance(start, list):
        expected["event"] = list(dict.fromkeys(start))
    assert tree == expected

    asked, order = data.draw(steps), data.draw(st.sampled_from(["ordered", "strict", "any"]))
    funnel = client.ask(
        "/query/funnel", key, {**window, "order": order, "steps": [{"event": e, "filter": f} for e, f in asked]}
    )
    runs = oracle_funnel.runs(history, asked, since, until, order, None, None)
    figures = oracle_funnel.figures(runs, len(asked))
    assert [(step["people"], step["median_seconds"], step["p90_seconds"]) for step in funnel["steps"]] == [
        pytest.approx(figure) for figure in figures
    ]

    series = {
        "event": data.draw(names),
        "filter": data.draw(filters),
        "measure": data.draw(st.sampled_from(["count", "people"])),
    }
    trends = client.ask("/query/trends", key, {**window, "series": [series], "breakdown": "a"})
    lines = {line_text(line): line["values"] for line in trends["series"][0]["lines"]}
    assert lines == oracle_trends.trend(history, series, since, until, "day", zone, "a")
