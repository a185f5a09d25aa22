"""The people behind each number are those that the oracle counts there, and as many as the number says."""

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.contract.api.endpoints import BASE_PATH
from services.runtime.settings import ClickHouseSettings
from tests.support import oracle_cohorts, oracle_funnel, oracle_listed
from tests.support.examples import examples
from tests.support.histories import NAMES, dense_histories, histories, store, wide_windows
from tests.support.oracle import Event, History
from tests.support.oracle_breakdown import OTHER, line_text
from tests.support.oracle_people import by_group, folded
from tests.support.people import people_histories, store_people
from tests.support.query_client import QueryClient

_examples = examples(25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
NAME = "Europe/Berlin"
ZONE = ZoneInfo(NAME)
keys = st.sampled_from(["a", "a.b", "b", "n", "schlüssel 'x'"])
names: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(NAMES[:3]), st.none(), st.lists(st.sampled_from(NAMES), min_size=1, max_size=2)
)
Window = tuple[datetime, datetime]


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


class Project:
    """A history that is stored, some of it twice, and a time window of it."""

    def __init__(self, client: QueryClient, settings: ClickHouseSettings, data: st.DataObject) -> None:
        self.data = data
        self.history: History = data.draw(st.one_of(dense_histories(NAME), histories(NAME)))
        project, self.key = next(client.projects)
        store(settings, {project: self.history}, repeats=10)
        self.since, self.until = data.draw(wide_windows(NAME))
        self._client = client

    def ask(self, kind: str, **body: Any) -> tuple[dict[str, Any], Any]:
        """The saved query, and its answer."""
        body |= {"since": self.since.isoformat(), "until": self.until.isoformat(), "timezone": NAME}
        return {"type": kind, **body}, self._client.ask(f"/query/{kind}", self.key, body)

    def people(self, query: dict[str, Any], **cell: Any) -> set[str]:
        """On pages of some size; as many as the first one says."""
        return self.listed(query, "people", "person_id", **cell)

    def listed(self, query: dict[str, Any], name: str, of: str, **cell: Any) -> set[str]:
        body: dict[str, Any] = {"query": query, "cell": cell, "limit": self.data.draw(st.integers(1, 5))}
        answer = self._client.ask("/query/people", self.key, body)
        count, found = answer["count"], [one[of] for one in answer[name]]
        while "next_cursor" in answer:
            assert len(answer[name]) == body["limit"]
            answer = self._client.ask("/query/people", self.key, {**body, "cursor": answer["next_cursor"]})
            found += [one[of] for one in answer[name]]
        assert len(found) == len(set(found)) == count
        return set(found)


def line_in_cell(line: dict[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in ("kind", "value") if name in line}


@_examples
@given(st.data())
def test_trends(client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject) -> None:
    project = Project(client, clickhouse, data)
    breakdown, top = data.draw(keys), data.draw(st.integers(1, 3))
    series = {"event": data.draw(names), "measure": data.draw(st.sampled_from(["people", "count"]))}
    query, answer = project.ask("trends", series=[{"event": "nothing"}, series], breakdown=breakdown, top=top)
    lines = answer["series"][1]["lines"]
    values = {oracle for line in lines if (oracle := line_text(line)) != OTHER}
    line_of = _OtherThan(values)
    args = project.history, series, project.since, project.until, ZONE
    for line in [*lines[:2], *lines[-1:]]:
        bucket = data.draw(st.integers(0, len(answer["periods"]) - 1))
        found = project.people(query, series=1, bucket=bucket, line=line_in_cell(line))
        assert found == oracle_listed.of_trend(*args, bucket, line_text(line), breakdown, line_of)
        if series["measure"] == "people":
            assert len(found) == line["values"][bucket]
        if line["kind"] != "other":
            # With fewer lines the value may have none of its own.
            few = {**query, "top": 1}
            assert project.people(few, series=1, bucket=bucket, line=line_in_cell(line)) == found
    assert project.people(query, series=1) == oracle_listed.of_trend(*args, None, None, breakdown, line_of)


class _OtherThan(dict[str, str]):
    """The line of each text: itself where the answer has it."""

    def __init__(self, values: set[str]) -> None:
        super().__init__({value: value for value in values})

    def __missing__(self, text: str) -> str:
        return OTHER


@_examples
@given(st.data())
def test_retention(client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject) -> None:
    project = Project(client, clickhouse, data)
    breakdown, top = data.draw(keys), data.draw(st.integers(1, 3))
    born, back = data.draw(names), data.draw(names)
    mode = data.draw(st.sampled_from(["on", "on_or_after"]))
    query, answer = project.ask(
        "retention", born_event=born, return_event=back, mode=mode, breakdown=breakdown, top=top
    )
    for line in [None, *answer["breakdown"][:1], *answer["breakdown"][-1:]]:
        matrix = answer["matrix"] if line is None else line["matrix"]
        cohort = data.draw(st.sampled_from([i for i, row in enumerate(matrix) if row[0]] or [0]))
        for offset in {0, data.draw(st.integers(0, len(matrix[cohort]) - 1))}:
            of_line = {} if line is None else {"line": line_in_cell(line)}
            found = project.people(query, cohort=cohort, offset=offset, **of_line)
            assert len(found) == matrix[cohort][offset]
            text = None if line is None else line_text(line)
            args = project.history, born, back, project.since, project.until, ZONE
            assert found == oracle_listed.of_retention(*args, cohort, offset, mode, text, breakdown, top)
            if line is not None and line["kind"] != "other":
                assert project.people({**query, "top": 1}, cohort=cohort, offset=offset, **of_line) == found
    options = {"first_time": data.draw(st.booleans()), "min_occurrences": data.draw(st.integers(1, 3))}
    query, answer = project.ask("retention", born_event=born, return_event=back, mode=mode, **options)
    for cohort, row in enumerate(answer["matrix"]):
        for offset in data.draw(st.sets(st.sampled_from(range(len(row))), max_size=2)):
            assert len(project.people(query, cohort=cohort, offset=offset)) == row[offset]


@_examples
@given(st.data())
def test_funnel(client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject) -> None:
    project = Project(client, clickhouse, data)
    breakdown, top = data.draw(keys), data.draw(st.integers(1, 3))
    steps: Any = data.draw(st.lists(names, min_size=2, max_size=4))
    order = data.draw(st.sampled_from(["ordered", "strict", "any"]))
    sent = [{"event": step} for step in steps]
    query, answer = project.ask("funnel", steps=sent, order=order, breakdown=breakdown, top=top)
    runs = oracle_funnel.runs(
        project.history, [(step, {}) for step in steps], project.since, project.until, order, None, breakdown
    )
    for line in [None, *answer["breakdown"][:1], *answer["breakdown"][-1:]]:
        figures = answer["steps"] if line is None else line["steps"]
        of_line = {} if line is None else {"line": line_in_cell(line)}
        text = None if line is None else line_text(line)
        step = data.draw(st.integers(1, len(steps)))
        found = project.people(query, step=step, **of_line)
        assert len(found) == figures[step - 1]["people"]
        assert found == oracle_listed.of_funnel(runs, len(steps), step, False, text, top)
        lost = project.people(query, step=step, part="drop_off", **of_line)
        assert len(lost) == figures[step - 1]["drop_off"]
        assert lost == oracle_listed.of_funnel(runs, len(steps), step, True, text, top)
        if line is not None and line["kind"] != "other":
            assert project.people({**query, "top": 1}, step=step, **of_line) == found


@_examples
@given(st.data())
def test_path(client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject) -> None:
    project = Project(client, clickhouse, data)
    start, depth, top = data.draw(names), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    query, answer = project.ask("path", start_event=start, max_depth=depth, top=top)
    node, way = answer, list[str]()
    while True:
        for part in ("count", "drop_off", "continued", "other"):
            found = project.people(query, node=way, part=part)
            assert len(found) == node[part], (way, part)
            assert found == oracle_listed.of_path(
                project.history, start, project.since, project.until, way, part, depth, top
            )
        if not node["children"]:
            break
        node = data.draw(st.sampled_from(node["children"]))
        way.append(node["event"])


@_examples
@given(people_histories(NAME), oracle_cohorts.cohorts)
def test_cohorts_with_traits(client: QueryClient, clickhouse: ClickHouseSettings, history: Any, rule: Any) -> None:
    project, key = next(client.projects)
    store_people(clickhouse, {project: history}, repeats=5)
    answer = client.ask("/query/people", key, {"query": {"type": "cohort", "cohort": rule}, "limit": 1000})
    found = {person["person_id"]: person["traits"] for person in answer["people"]}
    assert set(found) == oracle_cohorts.cohort(history, rule)
    assert len(found) == answer["count"]
    for person, traits in found.items():
        assert traits == history.traits_of(person)
    series = {"type": "trends", "last": "1d", "series": [{"event": None}], "aggregate_by": "company"}
    window = {"since": "2001-01-01", "until": "2030-01-01", "last": None, "interval": "month"}
    answer = client.ask("/query/people", key, {"query": {**series, **window}, "limit": 1000})
    groups = {group["group_key"]: group["traits"] for group in answer["groups"]}
    grouped = by_group(history, "company")
    assert set(groups) == {grouped.person(event) for event in grouped.events}
    for group, traits in groups.items():
        assert json.dumps(traits, sort_keys=True) == json.dumps(_group_traits(history, group), sort_keys=True)
    assert (answer["count"], answer["people"]) == (len(groups), [])


def _group_traits(history: Any, key: str) -> dict[str, Any]:
    calls = history.calls_of("group")
    return folded(call for call in calls if (call.group_type, call.group_key) == ("company", key))


@pytest.mark.parametrize(
    "value", ["1e400", "-1e999", "[1e400]", "[" * 1100 + "]" * 1100, '{"a":' * 1100 + "1" + "}" * 1100]
)
def test_a_value_that_no_event_can_have_is_not_a_missing_one(
    client: QueryClient, clickhouse: ClickHouseSettings, value: str
) -> None:
    project, key = next(client.projects)
    event = Event(str(uuid.uuid4()), "a", "u1", datetime(2024, 1, 2, tzinfo=ZONE))
    store(clickhouse, {project: History([event])})
    window = '"since":"2024-01-01","until":"2024-01-03","breakdown":"x"'
    for query in (
        '"type":"trends","series":[{"event":"a"}]',
        '"type":"retention","born_event":"a","return_event":"b"',
        '"type":"funnel","steps":[{"event":"a"},{"event":"b"}]',
    ):
        body = f'{{"query":{{{query},{window}}},"cell":{{"line":{{"kind":"value","value":{value}}}}}}}'
        headers = {"content-type": "application/json"}
        response = client.send("POST", f"{BASE_PATH}/query/people", key, content=body.encode(), headers=headers)
        assert response.status_code == 400 or response.json()["count"] == 0, response.text


def test_numbers_that_an_answer_does_not_have(client: QueryClient) -> None:
    _, key = next(client.projects)
    window = {"since": "2024-01-01", "until": "2024-01-03"}
    trends = {"type": "trends", **window, "series": [{"event": "a"}]}
    funnel = {"type": "funnel", **window, "steps": [{"event": "a"}, {"event": "b"}], "breakdown": "x"}
    path = {"type": "path", **window, "start_event": "a", "max_depth": 1}
    retention = {"type": "retention", **window, "born_event": "a", "return_event": "b"}
    for query, cell, field in (
        (trends, {"series": 1}, "cell.series"),
        (trends, {"bucket": 2}, "cell.bucket"),
        (trends, {"step": 1}, "cell.step"),
        (trends, {"line": {"kind": "missing"}}, "cell.line"),
        (retention, {"cohort": 1, "offset": 1}, "cell.offset"),
        (retention, {"cohort": 2}, "cell.cohort"),
        (funnel, {"step": 3}, "cell.step"),
        (funnel, {"part": "other"}, "cell.part"),
        (funnel, {"line": {"kind": "value"}}, "cell.line.value"),
        (path, {"node": ["a", "b"]}, "cell.node"),
        ({"type": "events", **window}, {}, "query.type"),
        ({**trends, "series": [{"event": ""}]}, {}, "query.series[0].event"),
        ({"type": "nothing"}, {}, "query.type"),
    ):
        response = client.post("/query/people", key, {"query": query, "cell": cell})
        assert (response.status_code, response.json()["error"]["field"]) == (400, field)
    assert (
        client.post("/query/people", key, {"query": trends, "cursor": "x"}).json()["error"]["code"] == "invalid_cursor"
    )
