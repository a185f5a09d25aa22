"""Windows in words, whole periods, and the window before: each answer is that of the times which it says it is about."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.runtime.settings import ClickHouseSettings
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.query_client import QueryClient

NOW = datetime.now(UTC)
KINDS: dict[str, dict[str, Any]] = {
    "events": {"filter": {"event": "pay"}, "limit": 7},
    "retention": {"born_event": "view", "return_event": None},
    "path": {"start_event": ["view", "pay"], "max_depth": 2},
    "funnel": {"steps": [{"event": "view"}, {"event": "pay"}]},
    "trends": {"series": [{"event": "view"}, {"event": None, "measure": "people"}]},
}
WORDS: list[dict[str, Any]] = [
    {"last": "3d"},
    {"last": "30h"},
    {"last": "2w", "whole_periods": True},
    {"this": "quarter"},
    {"previous": "week"},
    {"last": "1month", "timezone": "Asia/Tokyo"},
]


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=20) as client:
        yield client


@pytest.fixture(scope="module")
def key(client: QueryClient, clickhouse: ClickHouseSettings) -> str:
    """Of a project with an event every five hours for half a year."""
    project, key = next(client.projects)
    events = [
        Event(str(uuid.uuid4()), ["view", "pay", "view", "cart"][i % 4], f"u{i % 13}", NOW - timedelta(hours=5 * i + 1))
        for i in range(900)
    ]
    store(clickhouse, {project: History(events, {"u1": "u2"})}, repeats=50)
    return key


@pytest.mark.parametrize("words", WORDS, ids=lambda words: " ".join(map(str, words.values())))
@pytest.mark.parametrize("kind", KINDS)
def test_are_what_their_times_would_be(client: QueryClient, key: str, kind: str, words: dict[str, Any]) -> None:
    body = KINDS[kind]
    answer = client.ask(f"/query/{kind}", key, {**body, **words, "compare": "previous"})
    window, before = answer.pop("window"), answer.pop("previous")
    assert before["window"]["until"] <= window["until"]
    assert before["window"]["since"] < window["since"]
    for found, times in ((answer, window), (before, before.pop("window"))):
        alone = client.ask(f"/query/{kind}", key, {**body, **times, "timezone": words.get("timezone", "UTC")})
        assert _numbers(found) == _numbers(alone)
    without = client.ask(f"/query/{kind}", key, {**body, **words})
    assert without.pop("window") == window
    assert without == answer


def _numbers(answer: dict[str, Any]) -> dict[str, Any]:
    """A cursor belongs to the words that it was asked with."""
    return {name: value for name, value in answer.items() if name != "next_cursor"}


@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
def test_whole_periods_leave_out_what_has_not_ended(client: QueryClient, key: str, interval: str) -> None:
    last = {"hour": "30h", "day": "9d", "week": "9w", "month": "4mo"}[interval]
    body = {**KINDS["trends"], "last": last, "interval": interval}
    whole = client.ask("/query/trends", key, {**body, "whole_periods": True})
    answer = client.ask("/query/trends", key, body)
    ended = sum(answer["complete"])
    assert all(whole["complete"])
    assert whole["periods"] == answer["periods"][:ended]
    for series, of_whole in zip(answer["series"], whole["series"], strict=True):
        assert of_whole["lines"][0]["values"] == series["lines"][0]["values"][:ended]
    assert not all(answer["complete"])


def test_a_walk_in_words_goes_on(client: QueryClient, key: str) -> None:
    body = {**KINDS["events"], "last": "20d"}
    first = client.ask("/query/events", key, body)
    following = client.ask("/query/events", key, {**body, "cursor": first["next_cursor"]})
    both = client.ask("/query/events", key, {**body, "limit": 14})
    assert both["events"] == first["events"] + following["events"]
    refused = client.post("/query/events", key, {**body, "cursor": first["next_cursor"], "compare": "previous"})
    assert refused.json()["error"]["field"] == "compare"
    times = {"since": first["window"]["since"], "until": first["window"]["until"], "whole_periods": True}
    of_times = client.ask("/query/events", key, {**KINDS["events"], **times})["next_cursor"]
    later = {**times, "since": first["events"][0]["timestamp"], "cursor": of_times}
    assert client.post("/query/events", key, {**KINDS["events"], **later}).json()["error"]["code"] == "invalid_cursor"
    other = client.post("/query/events", key, {**body, "last": "21d", "cursor": first["next_cursor"]})
    assert other.json()["error"]["code"] == "invalid_cursor"


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_dashboard_whatever_is_asked(client: QueryClient, key: str, kind: str) -> None:
    body = {**KINDS[kind], "last": "3d"}
    queries = [{"type": kind, "title": "x", "width": 3, **body}]
    dashboard_id = client.ask("/dashboard/create", key, {"name": "x", "queries": queries})["dashboard_id"]
    overrides: list[dict[str, Any]] = [{}, {"last": "2w"}, {"compare": "previous"}, {"whole_periods": True}]
    for override in overrides:
        (run,) = client.ask(f"/dashboard/run/{dashboard_id}", key, override)["answers"]
        assert run["answer"] == client.ask(f"/query/{kind}", key, {**body, **override})


def test_of_dashboards_and_of_their_runs(client: QueryClient, key: str) -> None:
    saved = [
        {"type": "trends", **KINDS["trends"], "last": "3d"},
        {"type": "path", **KINDS["path"], "since": "2020-01-01", "until": "2020-02-01"},
        {"type": "trends", **KINDS["trends"], "this": "day", "whole_periods": True},
    ]
    dashboard_id = client.ask("/dashboard/create", key, {"name": "x", "queries": saved})["dashboard_id"]

    def run(**override: Any) -> list[Any]:
        answers = client.ask(f"/dashboard/run/{dashboard_id}", key, override)["answers"]
        return [answer.get("answer", answer.get("error")) for answer in answers]

    trends, path, nothing_yet = run()
    assert trends == client.ask("/query/trends", key, {**KINDS["trends"], "last": "3d"})
    assert "window" not in path
    assert nothing_yet["code"] == "invalid_window"
    assert run(last="2w", compare="previous")[:2] == [
        client.ask("/query/trends", key, {**KINDS["trends"], "last": "2w", "compare": "previous"}),
        client.ask("/query/path", key, {**KINDS["path"], "last": "2w", "compare": "previous"}),
    ]
    assert run(since="2020-01-01", until="2020-02-01")[1] == path
    for wrong, field in (({"last": "2w", "this": "day"}, "this"), ({"last": "x"}, "last")):
        response = client.post(f"/dashboard/run/{dashboard_id}", key, wrong)
        assert (response.status_code, response.json()["error"]["field"]) == (400, field)


def test_as_a_table(client: QueryClient, key: str) -> None:
    body = {**KINDS["events"], "last": "20d"}
    answer = client.ask("/query/events", key, body)
    table = client.send("POST", f"{BASE_PATH}/query/events", key, json=body, headers={"accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["x-next-cursor"] == answer["next_cursor"]
    assert table.headers["vary"] == "Accept"
    assert [line.split(",")[0] for line in table.text.splitlines()[1:]] == [e["event_id"] for e in answer["events"]]
    for kind, of_kind in KINDS.items():
        rows = client.send(
            "POST", f"{BASE_PATH}/query/{kind}", key, json={**of_kind, "last": "3d"}, headers={"accept": "text/csv"}
        )
        assert rows.status_code == 200
        assert rows.text.count("\r\n") > 1
    people = {"query": {"type": "trends", **KINDS["trends"], "last": "90d"}, "cell": {"series": 1}}
    listed = client.send("POST", f"{BASE_PATH}/query/people", key, json=people, headers={"accept": "text/csv"})
    assert len(listed.text.splitlines()) == 1 + client.ask("/query/people", key, people)["count"]
    refused = client.send("POST", f"{BASE_PATH}/query/path", key, json={}, headers={"accept": "text/csv"})
    assert json.loads(refused.text)["error"]["code"] == "missing_field"
