"""Filters on traits and groups, and groups as what is counted: every query equals the oracle on random histories."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.runtime.settings import ClickHouseSettings
from tests.support import oracle, oracle_trends
from tests.support.counting import check_all_counts
from tests.support.examples import examples
from tests.support.histories import NAMES, ODD_MOMENTS, windows
from tests.support.oracle import Event
from tests.support.oracle_people import Call, PeopleHistory, by_group, filtered
from tests.support.people import GROUP_TYPES, people_histories, store_people, trait_filters, trait_keys
from tests.support.query_client import QueryClient

_examples = examples(20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
zones = st.sampled_from(sorted(ODD_MOMENTS))
measured = trait_keys.filter(lambda key: key.startswith("person.") or key.count(".") > 1).filter(
    lambda key: not key.endswith(".")
)
plain_filters = st.fixed_dictionaries(
    {}, optional={"event": st.lists(st.sampled_from(NAMES)), "n": st.just({"exists": False})}
)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


def stored(client: QueryClient, clickhouse: ClickHouseSettings, *of: PeopleHistory) -> str:
    """A fresh project for each history; the first one's key."""
    projects = [next(client.projects) for _ in of]
    store_people(clickhouse, {project: h for (project, _), h in zip(projects, of, strict=True)}, repeats=10)
    return projects[0][1]


@_examples
@given(st.data())
def test_filters_on_traits_and_groups(client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject) -> None:
    zone = data.draw(zones)
    history, foreign = data.draw(people_histories(zone)), data.draw(people_histories(zone, max_events=5))
    key = stored(client, clickhouse, history, foreign)
    for _ in range(6):
        since, until = data.draw(windows(zone))
        conditions = {**data.draw(trait_filters), **data.draw(plain_filters)}
        body = {"since": since.isoformat(), "until": until.isoformat(), "filter": conditions}
        answer = client.ask("/query/events", key, body)
        assert [e["event_id"] for e in answer["events"]] == oracle.events(filtered(history, conditions), since, until)


@_examples
@given(st.data())
def test_filters_and_groups_in_questions_that_count(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    zone = data.draw(zones)
    history, foreign = data.draw(people_histories(zone)), data.draw(people_histories(zone, max_events=5))
    key = stored(client, clickhouse, history, foreign)
    for _ in range(2):
        since, until = data.draw(windows(zone))
        conditions = {**data.draw(st.one_of(st.just({}), trait_filters)), **data.draw(plain_filters)}
        group_type = data.draw(st.sampled_from([None, *GROUP_TYPES, "nothing"]))
        options = {"filter": conditions, "aggregate_by": group_type}
        about = filtered(history, conditions)
        about = about if group_type is None else by_group(about, group_type)
        names = data.draw(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)))
        breakdown = data.draw(st.sampled_from([None, "n", "group.company", "group.téam '", "group.nothing"]))
        check_all_counts(client, key, about, (since, until), zone, names, options, breakdown)


@_examples
@given(st.data())
def test_measures_of_traits(client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject) -> None:
    zone = data.draw(zones)
    history, foreign = data.draw(people_histories(zone)), data.draw(people_histories(zone, max_events=5))
    key = stored(client, clickhouse, history, foreign)
    for _ in range(2):
        since, until = data.draw(windows(zone))
        series = [
            {"event": data.draw(st.sampled_from(NAMES)), "measure": measure, "property": data.draw(measured)}
            for measure in ("sum", "avg", "min", "max")
        ]
        group_type = data.draw(st.sampled_from([None, *GROUP_TYPES]))
        window = {"since": since.isoformat(), "until": until.isoformat(), "timezone": zone, "interval": "week"}
        answer = client.ask("/query/trends", key, {**window, "series": series, "aggregate_by": group_type})
        about = history if group_type is None else by_group(history, group_type)
        for of, answered in zip(series, answer["series"], strict=True):
            expected = oracle_trends.trend(about, of, since, until, "week", ZoneInfo(zone))
            assert [line["values"] for line in answered["lines"]] == [
                pytest.approx(numbers) for numbers in expected.values()
            ]


def test_a_group_has_all_events_of_all_its_people(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    since = ODD_MOMENTS["UTC"]
    events = [
        Event(str(uuid.uuid4()), "home" if i == 0 else "view", f"u{i % 3}", since + timedelta(seconds=i))
        for i in range(15)
    ]
    calls = [Call(str(uuid.uuid4()), "group", f"u{i}", since, "{}", "company", "acme") for i in range(3)]
    history = PeopleHistory(events, {"u1": "u2", "u2": "u2"}, calls)
    key = stored(client, clickhouse, history)
    body = {"since": since.isoformat(), "until": (since + timedelta(days=1)).isoformat(), "aggregate_by": "company"}
    path = client.ask("/query/path", key, {**body, "start_event": "home", "max_depth": 20})
    depth, node = 0, path
    while node["children"]:
        (node,) = node["children"]
        depth += 1
    assert (path["count"], depth, node["drop_off"]) == (1, 14, 1)
