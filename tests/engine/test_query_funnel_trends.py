"""Funnels and trends of the e-commerce clickstream, compared with the oracle; and numbers that must agree."""

import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.runtime.settings import ClickHouseSettings
from tests.engine.test_query_clickstream import read_history
from tests.support import oracle_breakdown, oracle_funnel, oracle_trends
from tests.support.histories import store
from tests.support.oracle import Event, History, all_hold
from tests.support.query_client import QueryClient

STEPS: list[tuple[str, dict[str, Any]]] = [
    ("home", {}),
    ("product_view", {"platform": ["mobile", "desktop"]}),
    ("product_view", {}),
    ("add_to_cart", {}),
]


@pytest.fixture(scope="module")
def history() -> History:
    return read_history()


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=20) as client:
        yield client


@pytest.fixture(scope="module")
def key(client: QueryClient, clickhouse: ClickHouseSettings, history: History) -> str:
    project, key = next(client.projects)
    store(clickhouse, {project: history}, repeats=5000)
    return key


@pytest.fixture(scope="module")
def window(history: History) -> tuple[datetime, datetime]:
    times = [event.time for event in history.events]
    return min(times), max(times) + timedelta(seconds=1)


def body_of(window: tuple[datetime, datetime], **more: Any) -> dict[str, Any]:
    return {"since": window[0].isoformat(), "until": window[1].isoformat(), **more}


@pytest.mark.parametrize(
    ("order", "within"), [("ordered", 600), ("ordered", 86_400), ("strict", None), ("any", 3600), ("any", None)]
)
def test_funnel(
    client: QueryClient, key: str, history: History, window: tuple[datetime, datetime], order: str, within: int | None
) -> None:
    steps = [{"event": event, "filter": conditions} for event, conditions in STEPS]
    options = {"order": order, "conversion_window_seconds": within, "breakdown": "platform", "people_of_step": 4}
    answer = client.ask("/query/funnel", key, body_of(window, steps=steps, **options))
    found = oracle_funnel.runs(history, STEPS, *window, order, within, "platform")
    assert answer["steps"][0]["people"] > 100
    _is(answer["steps"], found)
    for line in answer["breakdown"]:
        text = oracle_breakdown.line_text(line)
        _is(line["steps"], [run for run in found if run.value == text])
    assert answer["listed"]["people"] == sorted(run.person for run in found if len(run.at) == 4)[:1000]


def _is(steps: list[dict[str, Any]], found: list[oracle_funnel.Run]) -> None:
    numbers = [(step["people"], step["median_seconds"], step["p90_seconds"]) for step in steps]
    assert numbers == [
        (people, pytest.approx(median), pytest.approx(p90))
        for people, median, p90 in oracle_funnel.figures(found, len(steps))
    ]


@pytest.mark.parametrize(("interval", "zone"), [("week", "UTC"), ("month", "America/New_York"), ("day", "Asia/Tokyo")])
def test_trends(
    client: QueryClient, key: str, history: History, window: tuple[datetime, datetime], interval: str, zone: str
) -> None:
    series = [
        {"event": "home", "measure": measure, "filter": {"platform": {"exists": True}}}
        for measure in ("count", "people", "per_person")
    ]
    options = {"interval": interval, "timezone": zone, "breakdown": "acquisition_channel", "top": 2}
    answer = client.ask("/query/trends", key, body_of(window, series=series, **options))
    for of, found in zip(series, answer["series"], strict=True):
        expected = oracle_trends.trend(history, of, *window, interval, ZoneInfo(zone), "acquisition_channel", 2)
        lines = {oracle_breakdown.line_text(line): line["values"] for line in found["lines"]}
        assert list(lines) == list(expected)
        assert lines == {text: pytest.approx(numbers) for text, numbers in expected.items()}


@pytest.mark.parametrize("options", [{}, {"filter": {"platform": "mobile"}}])
def test_the_questions_agree_about_who_began(
    client: QueryClient, key: str, history: History, options: dict[str, Any]
) -> None:
    """Over one period: people with the start event, by whichever query."""
    month = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
    for name, _ in Counter(event.event for event in history.events).most_common(4):
        step, again = {"event": name}, {"event": "home"}

        def ask(kind: str, **body: Any) -> Any:
            return client.ask(f"/query/{kind}", key, body_of(month, **body, **options))

        trends = ask("trends", series=[{**step, "measure": "people"}], interval="month")
        numbers = [
            ask("path", start_event=name)["count"],
            *(ask("funnel", steps=[step, again], order=order)["steps"][0]["people"] for order in ("ordered", "strict")),
            *trends["series"][0]["lines"][0]["values"],
            sum(row[0] for row in ask("retention", born_event=name, return_event=name)["matrix"]),
        ]
        conditions = options.get("filter", {})
        found = [e for e in history.within(*month) if e.event == name and all_hold(history, e, conditions)]
        assert numbers == [len({history.person(event) for event in found})] * 5


@pytest.mark.parametrize("order", ["ordered", "strict", "any"])
@pytest.mark.parametrize(("late_us", "reached"), [(-1, 2), (0, 2), (1, 1)])
def test_the_end_of_the_conversion_window_is_inside(
    client: QueryClient, clickhouse: ClickHouseSettings, order: str, late_us: int, reached: int
) -> None:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    end = start + timedelta(seconds=10, microseconds=late_us)
    project, key = next(client.projects)
    store(
        clickhouse,
        {project: History([Event(str(uuid.uuid4()), "a", "u", start), Event(str(uuid.uuid4()), "b", "u", end)])},
    )
    body = body_of((start, end + timedelta(days=1)), steps=[{"event": "a"}, {"event": "b"}], order=order)
    answer = client.ask("/query/funnel", key, {**body, "conversion_window_seconds": 10})
    assert [step["people"] for step in answer["steps"]] == [1, reached - 1]
    waited = pytest.approx(10 + late_us / 1e6) if reached == 2 else None
    assert answer["steps"][1]["median_seconds"] == waited
