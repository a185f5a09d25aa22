"""Properties that another producer than the edge stored, and that are no JSON, cost their event and no query."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.runtime.settings import ClickHouseSettings
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.query_client import QueryClient

BEGIN = datetime(2026, 3, 5, tzinfo=UTC)
WINDOW = {"since": "2026-03-01", "until": "2026-04-01"}
LARGE = 123456789012345678901234567890
UNREADABLE = ["", "abc", "[1]", '{"a":', '"s"', "null", f'{{"a":{LARGE},"b":']
READABLE = [f'{{"a":[{LARGE}],"d":{{"e":"{i % 2}"}},"n":{i}}}' for i in range(6)]


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=1) as client:
        (project, _) = next(client.projects)
        events = [
            Event(str(uuid.uuid4()), name, f"u{i}", BEGIN + timedelta(seconds=2 * i + step), text)
            for i, text in enumerate(UNREADABLE + READABLE)
            for step, name in enumerate(("view", "pay"))
        ]
        store(clickhouse, {project: History(events)})
        yield client


def ask(client: QueryClient, kind: str, body: dict[str, Any]) -> Any:
    return client.ask(f"/query/{kind}", "hr_key_0", {**WINDOW, **body})


def count(client: QueryClient, conditions: dict[str, Any]) -> int:
    answer = ask(client, "trends", {"series": [{"event": "view", "filter": conditions}], "interval": "month"})
    (number,) = answer["series"][0]["lines"][0]["values"]
    assert len(ask(client, "events", {"filter": {"event": "view", **conditions}})["events"]) == number
    return int(number)


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({"d.e": "1"}, 3),
        ({"d.e": {"ne": "1"}}, 10),
        ({"d.e": {"exists": False}}, 7),
        ({"a": {"contains": LARGE}}, 6),
        ({"n": {"gte": 3}}, 3),
    ],
)
def test_a_filter(client: QueryClient, conditions: dict[str, Any], found: int) -> None:
    assert count(client, conditions) == found


@pytest.mark.parametrize("key", ["d.e", "n"])
def test_a_breakdown(client: QueryClient, key: str) -> None:
    lines = ask(client, "trends", {"series": [{"event": "view"}], "breakdown": key})["series"][0]["lines"]
    assert sum(sum(line["values"]) for line in lines if line["kind"] == "missing") == len(UNREADABLE)
    retention = ask(client, "retention", {"born_event": "view", "return_event": "pay", "breakdown": key})
    assert sum(sum(row[0] for row in line["matrix"]) for line in retention["breakdown"]) == 13
    for order in ("ordered", "strict", "any"):
        steps = [{"event": "view"}, {"event": "pay"}]
        funnel = ask(client, "funnel", {"steps": steps, "order": order, "breakdown": key})
        people = {line["kind"]: 0 for line in funnel["breakdown"]}
        for line in funnel["breakdown"]:
            people[line["kind"]] += line["steps"][1]["people"]
        assert people == {"missing": len(UNREADABLE), "value": len(READABLE)}


@pytest.mark.parametrize(("measure", "number"), [("sum", 15), ("min", 0), ("max", 5), ("percentile", 2.5)])
def test_a_measure(client: QueryClient, measure: str, number: float) -> None:
    series = [{"event": "view", "measure": measure, "property": "n"}]
    (line,) = ask(client, "trends", {"series": series, "interval": "month"})["series"][0]["lines"]
    assert line["values"] == [number]
