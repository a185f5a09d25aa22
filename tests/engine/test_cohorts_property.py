"""Cohorts, listed and as a filter of other queries, equal the oracle on random histories."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.runtime.settings import ClickHouseSettings
from tests.support import oracle
from tests.support.counting import check_all_counts
from tests.support.examples import examples
from tests.support.histories import NAMES, windows
from tests.support.oracle_cohorts import cohort, cohorts, of_cohort
from tests.support.people import people_histories, store_people
from tests.support.query_client import QueryClient

ZONE = "Europe/Berlin"
_examples = examples(15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


@_examples
@given(st.data())
def test_cohorts_are_those_of_the_oracle_page_by_page(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    history, foreign = data.draw(people_histories(ZONE)), data.draw(people_histories(ZONE, max_events=5))
    (project, key), (other, _) = next(client.projects), next(client.projects)
    store_people(clickhouse, {project: history, other: foreign}, repeats=20)
    for _ in range(5):
        rule = data.draw(cohorts)
        body: dict[str, Any] = {"cohort": rule, "limit": data.draw(st.sampled_from([1, 2, 1000]))}
        expected, found = cohort(history, rule), []
        while True:
            answer = client.ask("/query/cohort", key, body)
            assert answer["size"] == len(expected)
            assert len(answer["people"]) <= body["limit"]
            found += answer["people"]
            if "next_cursor" not in answer:
                break
            body["cursor"] = answer["next_cursor"]
        assert sorted(found) == sorted(expected)


@_examples
@given(st.data())
def test_cohorts_as_filters(client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject) -> None:
    history = data.draw(people_histories(ZONE))
    project, key = next(client.projects)
    store_people(clickhouse, {project: history}, repeats=20)
    for _ in range(2):
        since, until = data.draw(windows(ZONE))
        rule, names = data.draw(st.tuples(cohorts, st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES))))
        body = {"since": since.isoformat(), "until": until.isoformat(), "cohort": rule}
        about = of_cohort(history, rule)
        events = client.ask("/query/events", key, body)
        assert [e["event_id"] for e in events["events"]] == oracle.events(about, since, until)
        check_all_counts(client, key, about, (since, until), ZONE, names, {"cohort": rule})
