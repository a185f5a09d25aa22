"""What is known of one person equals the oracle on random histories."""

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import EVENTS
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.worker.identity.writer import IdentityStore
from tests.support.engine import insert_lines
from tests.support.examples import examples
from tests.support.histories import IDS
from tests.support.oracle import MISSING
from tests.support.oracle_links import Said, counting_links, in_force, people
from tests.support.oracle_people import PeopleHistory
from tests.support.people import people_histories, store_people
from tests.support.query_client import QueryClient
from tests.support.sayings import identity_line, link, say, sayings


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
        # These histories have their sets made for them, and no message that says why.
        "links": [],
        "merges": [],
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
        assert answer == expected
        assert json.dumps(answer["traits"], sort_keys=True) == json.dumps(expected["traits"], sort_keys=True)


@pytest.mark.parametrize("distinct_id", ["", "x" * 513])
def test_what_is_no_id(client: QueryClient, distinct_id: str) -> None:
    _, key = next(client.projects)
    response = client.send("GET", f"{BASE_PATH}/persons/{distinct_id}", key)
    assert (response.status_code, response.json()["error"]["field"]) == (400, "distinct_id")


def keep(client: QueryClient, clickhouse: ClickHouseSettings, project: str, said: list[Said]) -> None:
    """As the worker stores it."""

    async def stored() -> None:
        store = ClickHouse(clickhouse)
        try:
            await IdentityStore(store).keep_lines([identity_line(project, one) for one in said])
        finally:
            await store.close()

    client.run(stored())


@examples(25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(said=sayings())
def test_links_and_merges_are_shown_with_which_count(
    client: QueryClient, clickhouse: ClickHouseSettings, said: list[Said]
) -> None:
    project, key = next(client.projects)
    keep(client, clickhouse, project, said)
    events = [
        {"project_id": project, "event_id": str(uuid.uuid4()), "event": "e", "distinct_id": one} for one in "abcdef"
    ]
    insert_lines(clickhouse, EVENTS, "\n".join(json.dumps({**e, "timestamp": 1e9}) for e in events).encode())
    who, alive = people(said), in_force(said)
    counted = counting_links(said)
    for distinct_id in "abcdef":
        answer = client.send("GET", f"{BASE_PATH}/persons/{distinct_id}", key).json()
        person = who.get(distinct_id, distinct_id)
        assert answer["person_id"] == person
        mine = [one for one in said if person in (who[one.old], who[one.new]) and one.kind != "unmerge"]
        for kind, name, sides, counts in (
            ("link", "links", ("prior_id", "user_id"), counted),
            ("alias", "merges", ("old_id", "new_id"), alive),
        ):
            expected = sorted((one for one in mine if one.kind == kind), key=lambda one: one.by_time)
            shown = answer[name]
            assert [tuple(one[side] for side in sides) for one in shown] == [(one.old, one.new) for one in expected]
            assert [one["counts"] for one in shown] == [one in counts for one in expected]
            assert all(("reason" in one) is not one["counts"] for one in shown)
            assert [datetime.fromisoformat(one["received_at"]) for one in shown] == [one.received for one in expected]


def test_the_reason_says_why_a_link_does_not_count(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    said = [
        link("phone", "ann", 0),
        link("phone", "bob", 1),
        link("ann", "cleo", 2),
        link("phone", "ann", 3),
        link("laptop", "ann", 4),
        say("unmerge", "laptop", "ann", 5),
    ]
    keep(client, clickhouse, project, said)
    shown = client.send("GET", f"{BASE_PATH}/persons/ann", key).json()["links"]
    assert [one.get("reason") for one in shown] == [
        None,
        "`phone` is of `ann` since 2026-11-20T00:00:00Z.",
        "`ann` is a user itself, of `phone` since 2026-11-20T00:00:00Z.",
        "It was said before, at 2026-11-20T00:00:00Z.",
        "An operator undid it at 2026-11-20T00:00:05Z.",
    ]
    shown = client.send("GET", f"{BASE_PATH}/persons/bob", key).json()["links"]
    assert [(one["prior_id"], one["counts"], one["reason"]) for one in shown] == [
        ("phone", False, "`phone` was linked to another user, or was a user itself, before.")
    ]
