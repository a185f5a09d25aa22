"""The e-commerce clickstream: 31,106 real events, every answer compared with the oracle's."""

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.devstack.clickstream import EVENT_COUNT, clickstream
from services.runtime.settings import ClickHouseSettings
from tests.support import oracle, oracle_retention
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.oracle_breakdown import line_text
from tests.support.query_client import QueryClient

# A tenth of the people had a second id before.
_SPLIT = [f"user_{number:04d}" for number in range(0, 3000, 10)]


def read_history() -> History:
    events = []
    for number, row in enumerate(clickstream()):
        distinct_id = row["distinct_id"]
        if distinct_id in _SPLIT and number % 2:
            distinct_id = f"before_{distinct_id}"
        time = datetime.fromisoformat(row["timestamp"])
        properties = msgspec.json.encode(row["properties"]).decode()
        events.append(
            Event(str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))), row["event"], distinct_id, time, properties)
        )
    return History(events, {f"before_{name}": name for name in _SPLIT})


@pytest.fixture(scope="module")
def history() -> History:
    return read_history()


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse) as client:
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


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_walk_gives_every_event_once(
    client: QueryClient, key: str, history: History, window: tuple[datetime, datetime], order: str
) -> None:
    body = body_of(window, order=order)
    seen: list[str] = []
    while True:
        answer = client.ask("/query/events", key, body)
        seen += [event["event_id"] for event in answer["events"]]
        if "next_cursor" not in answer:
            break
        body["cursor"] = answer["next_cursor"]
    assert len(seen) == EVENT_COUNT
    assert seen == oracle.events(history, *window, order=order)


@pytest.mark.parametrize(
    "conditions",
    [
        {"event": "checkout"},
        {"platform": ["mobile", "tablet"], "acquisition_channel": {"ne": "email"}},
        {"user_lifecycle": {"contains": "new"}, "event": {"gte": "p"}},
        {"person_id": "user_0010"},
        {"session_id": {"gte": "sess_000100", "lt": "sess_000110"}},
        {"nothing": {"exists": True}},
    ],
)
def test_filtered(
    client: QueryClient,
    key: str,
    history: History,
    window: tuple[datetime, datetime],
    conditions: dict[str, Any],
) -> None:
    answer = client.ask("/query/events", key, body_of(window, filter=conditions))
    assert [event["event_id"] for event in answer["events"]] == oracle.events(history, *window, conditions)[:1000]


@pytest.mark.parametrize(("interval", "zone"), [("week", "UTC"), ("month", "America/New_York"), ("day", "Asia/Tokyo")])
@pytest.mark.parametrize(("born", "back"), [("home", "product_view"), ("product_view", "product_view")])
def test_retention(
    client: QueryClient,
    key: str,
    history: History,
    window: tuple[datetime, datetime],
    interval: str,
    zone: str,
    born: str,
    back: str,
) -> None:
    body = body_of(window, born_event=born, return_event=back, interval=interval, timezone=zone)
    answer = client.ask("/query/retention", key, body)
    assert answer["matrix"] == oracle.retention(history, born, back, *window, interval, ZoneInfo(zone))
    people = {history.person(event) for event in history.events if event.event == born}
    assert sum(row[0] for row in answer["matrix"]) == len(people)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "on_or_after", "min_occurrences": 2},
        {"first_time": True, "interval": "week", "week_start": "sunday"},
        {"first_time": True, "mode": "on_or_after", "breakdown": "acquisition_channel", "top": 2},
        {"breakdown": "platform", "interval": "day", "min_occurrences": 3},
    ],
)
def test_retention_with_options(client: QueryClient, key: str, history: History, options: dict[str, Any]) -> None:
    window = datetime(2024, 3, 10, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)
    asked = {"interval": "month", **options}
    body = body_of(window, born_event="home", return_event="product_view", timezone="America/New_York", **asked)
    answer = client.ask("/query/retention", key, body)
    zone, interval = ZoneInfo("America/New_York"), asked.pop("interval")
    matrix, lines = oracle_retention.retention(history, "home", "product_view", *window, interval, zone, **asked)
    assert answer["matrix"] == matrix
    assert sum(row[0] for row in matrix) > 100
    if "breakdown" in options:
        assert {line_text(line): line["matrix"] for line in answer["breakdown"]} == lines


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_depth": 20, "top": 3},
        {"max_depth": 8, "collapse_repeats": True},
        {"session_gap_seconds": 1800},
        {"end_event": "add_to_cart", "max_depth": 10, "top": 100},
        {"collapse_repeats": True, "session_gap_seconds": 600, "end_event": "product_view", "top": 1},
        {"direction": "before"},
        {"direction": "before", "collapse_repeats": True, "session_gap_seconds": 1800, "end_event": "home"},
    ],
)
def test_path(
    client: QueryClient, key: str, history: History, window: tuple[datetime, datetime], options: dict[str, Any]
) -> None:
    answer = client.ask("/query/path", key, body_of(window, start_event="product_view", **options))
    answer["event"] = answer.pop("root")
    assert answer == dataclasses.asdict(oracle.path(history, "product_view", *window, **options))


def test_the_oracle_is_told_what_it_is_compared_on(history: History, window: tuple[datetime, datetime]) -> None:
    names = Counter(event.event for event in history.events)
    assert len(history.events) == EVENT_COUNT
    assert {"home", "product_view", "add_to_cart"} <= set(names)
    assert any(event.distinct_id in history.person_of for event in history.events)
    assert window[0] >= datetime(2000, 1, 1, tzinfo=UTC)
