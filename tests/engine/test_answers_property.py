"""Every query equals the brute-force oracle on random histories, whatever is odd about them."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.runtime.settings import ClickHouseSettings
from tests.support import oracle
from tests.support.examples import examples
from tests.support.histories import (
    IDS,
    NAMES,
    ODD_MOMENTS,
    PROPERTY_KEYS,
    PROPERTY_VALUES,
    histories,
    offsets,
    store,
    windows,
)
from tests.support.oracle import History
from tests.support.query_client import QueryClient

# The engine is shared and starts before the first example, so an example's time says nothing.
_examples = examples(40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
zones = st.sampled_from(sorted(ODD_MOMENTS))


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


def stored(client: QueryClient, clickhouse: ClickHouseSettings, *of: History, repeats: int = 0) -> list[str]:
    """A fresh project for each history; the first one's key."""
    projects = [next(client.projects) for _ in of]
    store(clickhouse, {project: h for (project, _), h in zip(projects, of, strict=True)}, repeats)
    return [key for _, key in projects]


def window_of(since: datetime, until: datetime) -> dict[str, str]:
    return {"since": since.isoformat(), "until": until.isoformat()}


def walk(client: QueryClient, key: str, body: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The pages of an events query."""
    cursor: dict[str, str] = {}
    while True:
        answer = client.ask("/query/events", key, {**body, **cursor})
        yield answer["events"]
        if "next_cursor" not in answer:
            return
        cursor = {"cursor": answer["next_cursor"]}


scalars = st.one_of(
    st.sampled_from([v for v in PROPERTY_VALUES if not isinstance(v, list | dict)]),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
)
ordered_scalars = scalars.filter(lambda v: v is not None and not isinstance(v, bool))
operators = st.one_of(
    st.fixed_dictionaries({}, optional={"eq": scalars, "ne": scalars, "contains": scalars, "exists": st.booleans()}),
    st.fixed_dictionaries({}, optional={"in": st.lists(scalars, max_size=4), "not_in": st.lists(scalars, max_size=4)}),
    st.fixed_dictionaries({}, optional=dict.fromkeys(["gt", "gte", "lt", "lte"], ordered_scalars)),
).filter(bool)
ids = st.sampled_from([*IDS, "someone", "nobody"])
filters = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.one_of(scalars, st.lists(scalars, max_size=4), operators) for name in PROPERTY_KEYS},
        "event": st.one_of(
            st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES)), st.just({"contains": "a"}), st.just({"gt": "m"})
        ),
        "distinct_id": st.one_of(ids, st.fixed_dictionaries({"not_in": st.lists(ids)}), st.just({"exists": False})),
        "person_id": st.one_of(ids, st.lists(ids), st.fixed_dictionaries({"ne": ids})),
        "properties.a.b": st.one_of(scalars, operators),
        "properties.event": st.just({"exists": False}),
    },
)


@st.composite
def field_filters(draw: st.DrawFn, history: History) -> dict[str, Any]:
    """About ids and times that events of the history have, as answers show them."""
    shown = [_as_shown(event) for event in history.events]
    found = {}
    for key in draw(st.lists(st.sampled_from(["event_id", "timestamp", "received_at"]), unique=True)):
        values = st.sampled_from([event[key] for event in shown])
        operators = ["eq", "ne"] if key == "event_id" else ["eq", "ne", "gt", "gte", "lt", "lte"]
        one = st.dictionaries(st.sampled_from(operators), values, min_size=1, max_size=2)
        found[key] = draw(st.one_of(values, st.lists(values, max_size=3), one, st.just({"exists": True})))
    return found


def _as_shown(event: oracle.Event) -> dict[str, str]:
    received = event.received or event.time
    return {
        "event_id": event.event_id,
        "timestamp": event.time.astimezone(UTC).isoformat(),
        "received_at": received.astimezone(UTC).isoformat(),
    }


@_examples
@given(st.data())
def test_events_are_those_of_the_oracle_in_its_order(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    zone = data.draw(zones)
    history, foreign = data.draw(histories(zone)), data.draw(histories(zone, max_events=5))
    key, _ = stored(client, clickhouse, history, foreign, repeats=10)
    for _ in range(4):
        since, until = data.draw(windows(zone))
        conditions, order = data.draw(filters), data.draw(st.sampled_from(["asc", "desc"]))
        if history.events:
            conditions |= data.draw(st.one_of(st.just({}), field_filters(history)))
        body = {**window_of(since, until), "filter": conditions, "order": order}
        answer = client.ask("/query/events", key, body)
        expected = oracle.events(history, since, until, conditions, order)
        assert [e["event_id"] for e in answer["events"]] == expected
        people = {e.event_id: history.person(e) for e in history.events}
        assert [e["person_id"] for e in answer["events"]] == [people[event_id] for event_id in expected]


@_examples
@given(st.data())
def test_a_walk_gives_each_event_once_whatever_comes_in_meanwhile(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    zone = data.draw(zones)
    history = data.draw(histories(zone))
    project, key = next(client.projects)
    store(clickhouse, {project: history}, repeats=5)
    since, until = data.draw(windows(zone))
    order = data.draw(st.sampled_from(["asc", "desc"]))
    body = {**window_of(since, until), "order": order, "limit": data.draw(st.integers(1, 7))}
    late = iter(data.draw(histories(zone, max_events=10)).events)
    seen: list[str] = []
    for page in walk(client, key, body):
        seen += [e["event_id"] for e in page]
        if page and (event := next(late, None)) is not None:
            # At the very time of the cursor, or anywhere.
            time = datetime.fromisoformat(page[-1]["timestamp"]) if data.draw(st.booleans()) else event.time
            store(clickhouse, {project: History([dataclasses.replace(event, time=time)])})
    expected = oracle.events(history, since, until, order=order)
    assert len(seen) == len(set(seen))
    assert [event_id for event_id in seen if event_id in set(expected)] == expected


@_examples
@given(st.data())
def test_retention_is_that_of_the_oracle(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    zone = data.draw(zones)
    history, foreign = data.draw(histories(zone)), data.draw(histories(zone, max_events=5))
    key, _ = stored(client, clickhouse, history, foreign, repeats=10)
    for interval in ("hour", "day", "week", "month"):
        since, until = data.draw(windows(zone))
        born, back = data.draw(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)))
        body = {
            **window_of(since, until),
            **{"born_event": born, "return_event": back, "interval": interval, "timezone": zone},
        }
        answer = client.ask("/query/retention", key, body)
        expected = oracle.retention(history, born, back, since, until, interval, ZoneInfo(zone))
        assert answer["matrix"] == expected
        starts = [datetime.fromisoformat(start) for start in answer["periods"]]
        assert len(starts) == len(expected)
        assert starts[0] <= since
        assert all(since < start < until for start in starts[1:])


@_examples
@given(st.data())
def test_the_path_tree_is_that_of_the_oracle(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    zone = data.draw(zones)
    history, foreign = data.draw(histories(zone, max_events=80)), data.draw(histories(zone, max_events=5))
    key, _ = stored(client, clickhouse, history, foreign, repeats=10)
    for _ in range(4):
        since, until = data.draw(windows(zone))
        options: dict[str, Any] = data.draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "max_depth": st.integers(1, 20),
                    "top": st.integers(1, 4),
                    "collapse_repeats": st.booleans(),
                    "session_gap_seconds": st.sampled_from(pauses(history)),
                    "end_event": st.sampled_from(NAMES),
                    "direction": st.sampled_from(["after", "before"]),
                },
            )
        )
        start = data.draw(st.sampled_from(NAMES))
        answer = client.ask("/query/path", key, {**window_of(since, until), "start_event": start, **options})
        answer["event"] = answer.pop("root")
        assert answer == dataclasses.asdict(oracle.path(history, start, since, until, **options))
        _adds_up(answer)


def pauses(history: History) -> list[int]:
    """Between events of the history, in seconds: as a limit, each is just kept or just not."""
    times = sorted({e.time for e in history.events})
    lengths = {round((b - a).total_seconds()) for i, a in enumerate(times) for b in times[i + 1 :]}
    return sorted({1, *(length for length in lengths if length > 0)})


def _adds_up(node: dict[str, Any]) -> None:
    left = node["other"] + node["drop_off"] + node["continued"]
    assert node["count"] == sum(child["count"] for child in node["children"]) + left
    for child in node["children"]:
        _adds_up(child)


@_examples
@given(zones, offsets, st.data())
def test_the_people_of_a_path_are_those_of_retention(
    client: QueryClient, clickhouse: ClickHouseSettings, zone: str, offset: int, data: st.DataObject
) -> None:
    history = data.draw(histories(zone))
    (key,) = stored(client, clickhouse, history)
    since = ODD_MOMENTS[zone] + timedelta(microseconds=offset)
    window = window_of(since, since + timedelta(days=3))
    path = client.ask("/query/path", key, {**window, "start_event": "home"})
    retention = client.ask("/query/retention", key, {**window, "born_event": "home", "return_event": "view"})
    assert path["count"] == sum(row[0] for row in retention["matrix"])
