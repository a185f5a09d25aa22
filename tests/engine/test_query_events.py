"""What an event looks like when it comes back, and what filters make of odd values."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from services.contract.tables import EVENTS
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import insert_lines
from tests.support.query_client import QueryClient

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse) as client:
        yield client


class Project:
    """A project of its own, filled with events whose `distinct_id` is their place."""

    def __init__(self, client: QueryClient, settings: ClickHouseSettings) -> None:
        self._client = client
        self._settings = settings
        self.project_id, self.key = next(client.projects)

    def store(self, *properties: str, twice: bool = False, **columns: Any) -> None:
        lines = [
            json.dumps(
                {
                    "project_id": self.project_id,
                    "event_id": str(uuid.uuid4()),
                    "event": "e",
                    "distinct_id": str(place),
                    "timestamp": f"2024-01-01T00:00:{place:02d}Z",
                    "received_at": "2024-01-01T00:00:00Z",
                    "properties": text,
                    **columns,
                }
            ).encode()
            for place, text in enumerate(properties)
        ]
        insert_lines(self._settings, EVENTS, b"\n".join(lines))
        if twice:
            # The last one not, so that the block is another one.
            insert_lines(self._settings, EVENTS, b"\n".join(lines[:-1]))

    def found(self, body: dict[str, Any]) -> list[int]:
        """The places of the events that a filter finds."""
        return [int(e["distinct_id"]) for e in self.events({"filter": body})]

    def events(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.page(body)["events"]
        return events

    def page(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.ask("/query/events", self.key, {**WINDOW, **body})
        return answer

    def text(self) -> str:
        return self._client.post("/query/events", self.key, WINDOW).text


@pytest.fixture
def project(client: QueryClient, clickhouse: ClickHouseSettings) -> Project:
    return Project(client, clickhouse)


def test_an_event_as_it_comes_back(project: Project) -> None:
    project.store(
        "{}",
        event_id="00112233-4455-6677-8899-aabbccddeeff",
        event="ünï",
        distinct_id="ü \\ '",
        timestamp="2024-01-01T00:00:00.000100Z",
        received_at="2024-01-01T00:00:01Z",
        idempotency_key="k \t\\",
        original_timestamp="2030-01-01T00:00:00Z",
    )
    assert project.events({}) == [
        {
            "event_id": "00112233-4455-6677-8899-aabbccddeeff",
            "event": "ünï",
            "distinct_id": "ü \\ '",
            "person_id": "ü \\ '",
            "timestamp": "2024-01-01T00:00:00.000100Z",
            "received_at": "2024-01-01T00:00:01Z",
            "properties": {},
            "idempotency_key": "k \t\\",
            "original_timestamp": "2030-01-01T00:00:00Z",
        }
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1.0, "b":1e400,"c":123456789012345678901234567890}',
        '{"once":1, "spaces" :  [ 1 , 2 ]}',
        r'{"nul":"\u0000","escaped":"\/é","é":"\ud83d\ude00"}',
        '{"deep":' + "[" * 31 + "]" * 31 + "}",
        '{"": "", "a.b": {"c.d": null}}',
    ],
)
def test_properties_come_back_as_the_text_that_was_stored(project: Project, text: str) -> None:
    project.store(text)
    assert f'"properties":{text},' in project.text()


def test_a_name_that_stands_twice_is_shown_and_found_once(project: Project) -> None:
    project.store('{"plan":"free","plan":"pro","in":[{"a":1,"\\u0061":2}],"n":1e2}')
    assert '"properties":{"plan":"free","in":[{"a":1}],"n":1e2},' in project.text()
    assert (project.found({"plan": "free"}), project.found({"plan": "pro"})) == ([0], [])


def test_only_the_window(project: Project) -> None:
    for time in ("2023-12-31T23:59:59.999999Z", "2024-01-01T00:00:00Z", "2024-01-31T23:59:59.999999Z", "2024-02-01"):
        project.store("{}", timestamp=time)
    times = [event["timestamp"] for event in project.events({})]
    assert times == ["2024-01-01T00:00:00Z", "2024-01-31T23:59:59.999999Z"]
    in_tokyo = [event["timestamp"] for event in project.events({"timezone": "Asia/Tokyo"})]
    assert in_tokyo == ["2023-12-31T23:59:59.999999Z", "2024-01-01T00:00:00Z"]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({"n": 1}, [0, 1]),
        ({"n": "1"}, [2]),
        ({"n": True}, [3]),
        ({"n": None}, [4]),
        ({"n": {"exists": False}}, [5, 6]),
        ({"n": {"exists": True}}, [0, 1, 2, 3, 4, 7, 8, 9]),
        ({"n": {"ne": 1}}, [2, 3, 4, 5, 6, 7, 8, 9]),
        ({"n": {"not_in": [1, "1", True, None]}}, [5, 6, 7, 8, 9]),
        ({"n": [1, None]}, [0, 1, 4]),
        ({"n": []}, []),
        ({"n": {"not_in": []}}, list(range(10))),
        ({"n": {"gt": 0}}, [0, 1, 9]),
        ({"n": {"gte": 1, "lte": 1}}, [0, 1]),
        ({"n": {"gt": ""}}, [2]),
        ({"n": {"contains": 1}}, [7]),
        ({"n": {"contains": "1"}}, [2, 7]),
        ({"n": {"contains": None}}, [7]),
        ({"n.m": "x"}, [8, 6]),
    ],
)
def test_a_value_matches_by_type_and_equality(project: Project, conditions: dict[str, Any], found: list[int]) -> None:
    project.store(
        *['{"n": 1}', '{"n": 1.0}', '{"n": "1"}', '{"n": true}', '{"n": null}', "{}", '{"n.m": "x"}'],
        *['{"n": [1, "1", null]}', '{"n": {"m": "x"}}', '{"n": 2.5}'],
    )
    assert project.found(conditions) == sorted(found)


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({"n": 2**53}, [0]),
        ({"n": 2**53 + 1}, [1]),
        ({"n": {"gt": 2**53}}, [1, 2, 3]),
        ({"n": 2**64 - 1}, [2]),
        ({"n": {"lt": -(2**63) + 1}}, [4]),
        ({"n": {"gte": 1e300}}, [3]),
        ({"n": {"gt": 10**400}}, []),
        ({"n": {"lt": 10**400, "gt": 2**53}}, [1, 2, 3]),
    ],
)
def test_large_numbers(project: Project, conditions: dict[str, Any], found: list[int]) -> None:
    project.store(*(f'{{"n": {n}}}' for n in (2**53, 2**53 + 1, 2**64 - 1, "1e300", -(2**63))))
    assert project.found(conditions) == found


def test_numbers_beyond_what_the_engine_reads(project: Project) -> None:
    """The edge refuses what no double holds: properties with such a number cannot be read."""
    project.store('{"n": 123456789012345678901234567890}', '{"n": 1e400, "m": 1}')
    assert project.found({"n": 123456789012345678901234567890}) == [0]
    assert project.found({"n": 123456789012345678901234567891}) == []
    assert project.found({"n": "123456789012345678901234567890"}) == []
    assert project.found({"m": 1}) == []
    assert project.found({"m": {"exists": False}}) == [0, 1]


def test_a_name_with_a_dot_goes_before_the_way_into_objects(project: Project) -> None:
    project.store('{"a.b": 1, "a": {"b": 2}}', '{"a": {"b": 1}}', '{"a.b": null, "a": {"b": 1}}', '{"a": [1], "b": 1}')
    assert project.found({"a.b": 1}) == [0, 1]
    assert project.found({"a.b": 2}) == []
    assert project.found({"a.b": {"exists": True}}) == [0, 1, 2]
    assert project.found({"a.0": {"exists": True}}) == []


@pytest.mark.parametrize(
    "text", ["a\x00b", "\\N", "\t\n\r\b", "'; DROP TABLE events --", "{project:String}", "é✓😀", "%s", "$1"]
)
def test_strings_that_mean_something_elsewhere(project: Project, text: str) -> None:
    project.store(json.dumps({text: text, "list": [text]}), "{}")
    for conditions in ({text: text}, {text: [text, "x"]}, {text: {"contains": text}}, {"list": {"contains": text}}):
        assert project.found(conditions) == [0]
    assert project.found({"event": text}) == []
    assert project.found({"distinct_id": {"not_in": [text]}}) == [0, 1]


def test_a_filter_of_many_and_long_values(project: Project) -> None:
    project.store('{"n": "x"}')
    assert project.found({"n": ["é" * 50] * 500 + ["x"]}) == [0]
    assert project.found({f"k{i}": {"exists": False} for i in range(50)}) == [0]
    assert project.found({"n": [*range(998), "x", 0.5]}) == [0]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_are_full_where_rows_are_stored_twice(project: Project, order: str) -> None:
    project.store(*["{}"] * 8, twice=True)
    pages, cursor = [], None
    while True:
        page = project.page({"order": order, "limit": 3, **({"cursor": cursor} if cursor else {})})
        pages.append([int(e["distinct_id"]) for e in page["events"]])
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert pages == ([[0, 1, 2], [3, 4, 5], [6, 7]] if order == "asc" else [[7, 6, 5], [4, 3, 2], [1, 0]])


@pytest.mark.parametrize("until", ["2024-01-02", "2024-02-01", "2999-01-01"])
@pytest.mark.parametrize("since", ["2000-01-01", "2024-01-01"])
def test_the_latest_events_are_found_wherever_the_window_ends(project: Project, since: str, until: str) -> None:
    project.store(*["{}"] * 4)
    for order, expected in (("asc", [0, 1]), ("desc", [3, 2])):
        page = project.page({"since": since, "until": until, "order": order, "limit": 2})
        assert [int(e["distinct_id"]) for e in page["events"]] == expected
        assert page["next_cursor"]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_ends_early_when_it_has_8_mib(project: Project, order: str) -> None:
    """Also with a filter, that no bound is looked up for; an event larger than all others has a page of its own."""
    project.store(*[json.dumps({"n": n, "filler": "x" * 500_000}) for n in range(36)])
    for conditions in ({}, {"n": {"gte": 0}}):
        places: list[int] = []
        cursor: dict[str, Any] = {}
        pages = 0
        while True:
            page = project.page({"filter": conditions, "order": order, **cursor})
            assert len(json.dumps(page)) <= 8 * 1024 * 1024
            places += [int(e["distinct_id"]) for e in page["events"]]
            pages += 1
            if "next_cursor" not in page:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert places == sorted(range(36), reverse=order == "desc")
        assert pages == 3


def test_what_is_no_object_does_not_break_the_page(project: Project) -> None:
    """Only another producer than the edge can write such properties."""
    project.store(
        '{"n":1}', "text", "[1]", "", "null", '"{}"', '{"n":NaN}', '{"n":[1}', '{"n":' + "[" * 3000 + "]" * 3000 + "}"
    )
    assert [event["properties"] for event in project.events({})] == [{"n": 1}, *[{}] * 8]
    assert project.found({"n": 1}) == [0]
