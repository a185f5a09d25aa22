"""What is known of one person equals the oracle on random histories."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.contract.api.endpoints import BASE_PATH
from services.runtime.settings import ClickHouseSettings
from tests.support.examples import examples
from tests.support.histories import IDS
from tests.support.oracle import MISSING
from tests.support.oracle_people import PeopleHistory
from tests.support.people import people_histories, store_people
from tests.support.query_client import QueryClient


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


def known(history: PeopleHistory, distinct_id: str) -> dict[str, Any] | None:
    person = history.person_of_id(distinct_id)
    times = [event.time for event in history.events if history.person(event) == person]
    calls = [c for c in history.calls if c.distinct_id and history.person_of_id(c.distinct_id) == person]
    if not times and not calls:
        return None
    ids = {merged for merged, who in history.person_of.items() if who == person}
    groups = {kind: history.group_of(person, kind) for kind in {call.group_type for call in calls} - {""}}
    return {
        "person_id": person,
        "distinct_ids": sorted(ids if person in history.person_of else ids | {person}),
        "traits": history.traits_of(person),
        "groups": {kind: key for kind, key in groups.items() if key is not MISSING},
        "first_seen": min(times, default=None),
        "last_seen": max(times, default=None),
        "events": len(times),
    }


@examples(25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_person_is_that_of_the_oracle(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    history, foreign = data.draw(people_histories("UTC")), data.draw(people_histories("UTC"))
    (project, key), (other, _) = next(client.projects), next(client.projects)
    store_people(clickhouse, {project: history, other: foreign}, repeats=20)
    for distinct_id in [*IDS, "someone", "nobody/at all", "nul\0"]:
        response = client.send("GET", f"{BASE_PATH}/persons/{quote(distinct_id, safe='')}", key)
        expected = known(history, distinct_id)
        assert response.status_code == (404 if expected is None else 200), response.text
        if expected is None:
            assert response.json()["error"]["code"] == "not_found"
            continue
        answer = response.json()
        for name in ("first_seen", "last_seen"):
            answer[name] = answer[name] and datetime.fromisoformat(answer[name])
        answer["distinct_ids"].sort()
        # These histories have their sets made for them, and no message that says why.
        assert (answer.pop("links"), answer.pop("merges")) == ([], [])
        assert answer == expected
        assert json.dumps(answer["traits"], sort_keys=True) == json.dumps(expected["traits"], sort_keys=True)


@pytest.mark.parametrize("distinct_id", ["", "x" * 513])
def test_what_is_no_id(client: QueryClient, distinct_id: str) -> None:
    _, key = next(client.projects)
    response = client.send("GET", f"{BASE_PATH}/persons/{distinct_id}", key)
    assert (response.status_code, response.json()["error"]["field"]) == (400, "distinct_id")
