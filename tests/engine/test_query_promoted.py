"""Promoted properties on the engine: answers stay the same, whatever parts have the column, and when it goes away."""

import asyncio
import itertools
import json
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest

from services.cli.app import main
from services.contract.tables import EVENTS
from services.operations.properties import PromotedProperty, demote, list_promoted, promote
from services.query.execution import promoter
from services.query.sql.properties import DEFINITION_MARK, property_column
from services.runtime.clickhouse import ClickHouse
from services.runtime.cluster import on_cluster, on_replicas, own_table
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import own_rows, send_sql
from tests.support.histories import store
from tests.support.oracle import Event, History, all_hold
from tests.support.pipeline import eventually
from tests.support.query_client import QueryClient

T = TypeVar("T")

KEYS = ["a", "a.b", "a.size", "n", "$x-y_z"]
VALUES: list[Any] = [
    *[1, 1.0, "1", -0.5, 2**53 + 1, 2**64 - 1, True, "true", None, "null", "", "é ✓ \" \\ ' \t\n", "x" * 2000],
    *[[], [1, "1", None], {}, {"b": 1, "size": "1"}, {"b": {"c": None}}, {"b": None}],
]
START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = {"since": "2024-01-01", "until": "2024-01-03"}


def odd_events() -> list[Event]:
    """Each value under each key, alone and beside another one of a dotted name; and events without any."""
    properties = [{key: value} for key in KEYS for value in VALUES]
    properties += [{"a": {"b": 1, "size": 2}, "a.b": value, "schlüssel": value} for value in VALUES]
    properties += [{}, {"b": 1}, {"A": 1}]
    return [
        Event(str(uuid.uuid4()), "odd", f"u{i % 7}", START + timedelta(minutes=i), json.dumps(values))
        for i, values in enumerate(properties)
    ]


def queries() -> list[tuple[str, dict[str, Any]]]:
    """Every kind, and every way to speak of a property."""
    conditions: list[Any] = [1, "1", None, [1.0, "", True], {"ne": 1}, {"gt": 0}, {"lt": "b"}, {"exists": False}]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("events", {"filter": {key: condition}}) for key, condition in zip(itertools.cycle(KEYS), conditions)
    ]
    filtered, steps = {"a": {"exists": True}}, [{"event": "odd", "filter": {"a.b": {"exists": True}}}, {"event": "odd"}]
    measures = [("sum", "a"), ("max", "a.b"), ("percentile", "n"), ("avg", "a.size")]
    series = [{"event": "odd", "measure": measure, "property": key} for measure, key in measures]
    asked += [("trends", {"series": [{"event": "odd"}], "breakdown": key, "top": 30}) for key in ("a.b", "n")]
    asked += [
        ("trends", {"series": series}),
        ("retention", {"born_event": "odd", "return_event": "odd", "filter": filtered, "breakdown": "a.b"}),
        ("path", {"start_event": "odd", "filter": filtered}),
        ("funnel", {"steps": steps, "breakdown": "a", "people_of_step": 2}),
        ("cohort", {"cohort": {"did": "odd", **WINDOW, "filter": filtered, "at_least": 2}}),
    ]
    return asked


# A column that has a value where no property is: whoever finds it reads the column.
MARKED = f"String MATERIALIZED if(1, '1', '{DEFINITION_MARK}')"


@pytest.fixture(scope="module")
def history() -> History:
    return History(odd_events())


@pytest.fixture(scope="module")
def half_written(clickhouse: ClickHouseSettings, history: History) -> ClickHouseSettings:
    """Half of the events were stored before the keys were promoted, half of them after that."""
    half = len(history.events) // 2
    store(clickhouse, {"project_0": History(history.events[:half])})
    cluster = clickhouse.clickhouse_cluster
    operate(clickhouse, [partial(promote, cluster=cluster, key=key, new_only=True) for key in KEYS])
    store(clickhouse, {"project_0": History(history.events[half:])}, repeats=10)
    return clickhouse


@pytest.fixture(scope="module")
def client(half_written: ClickHouseSettings) -> Iterator[QueryClient]:
    """Knows the columns that there were when it began, and reads no newer list."""
    add_column(half_written, "marked", MARKED)
    with QueryClient.started(half_written, projects=1, keys_refresh_s=60) as client:
        eventually(lambda: count_marked(client), bool)
        yield client


def tables(settings: ClickHouseSettings) -> list[str]:
    """After ALTER TABLE: those that have a column. The one with the rows first; on a cluster another one shows it."""
    cluster = settings.clickhouse_cluster
    return [f"{table} {on_cluster(cluster)}" for table in dict.fromkeys((own_table(EVENTS, cluster), EVENTS))]


def add_column(settings: ClickHouseSettings, key: str, definition: str) -> None:
    for table in tables(settings):
        send_sql(settings, f"ALTER TABLE {table} ADD COLUMN {property_column(key)} {definition}")


def drop_column(settings: ClickHouseSettings, key: str) -> None:
    for table in reversed(tables(settings)):
        send_sql(settings, f"ALTER TABLE {table} DROP COLUMN {property_column(key)}")


def operate(settings: ClickHouseSettings, work: Sequence[Callable[[ClickHouse], Awaitable[T]]]) -> list[T]:
    """One after the other."""

    async def run() -> list[T]:
        client = await ClickHouse.connect(settings)
        try:
            return [await step(client) for step in work]
        finally:
            await client.close()

    return asyncio.run(run())


def ask(client: QueryClient) -> list[Any]:
    answers = []
    for kind, body in queries():
        window = {} if kind == "cohort" else WINDOW
        answers.append(client.ask(f"/query/{kind}", "hr_key_0", {**window, **body}))
    return answers


def count_marked(client: QueryClient) -> int:
    """Events that have a property which none has: those of a service that reads the column of that name."""
    body = {**WINDOW, "filter": {"marked": 1}}
    return len(client.ask("/query/events", "hr_key_0", body)["events"])


def test_answers_are_the_same_with_and_without(
    client: QueryClient, half_written: ClickHouseSettings, history: History
) -> None:
    some_parts = ask(client)
    assert count_marked(client) == len(history.events)
    for (kind, body), answer in zip(queries(), some_parts, strict=True):
        if kind == "events":
            found = [event["event_id"] for event in answer["events"]]
            assert sorted(found) == sorted(e.event_id for e in history.events if all_hold(history, e, body["filter"]))
    cluster = half_written.clickhouse_cluster
    operate(half_written, [partial(promote, cluster=cluster, key=key, new_only=False) for key in KEYS])

    def listed() -> list[PromotedProperty]:
        (found,) = operate(half_written, [list_promoted])
        return [promoted for promoted in found if promoted.key in KEYS]

    assert [promoted.key for promoted in listed()] == sorted(KEYS)
    eventually(listed, lambda keys: all(promoted.rows_written == promoted.rows > 0 for promoted in keys))
    assert ask(client) == some_parts
    operate(half_written, [partial(demote, cluster=cluster, key=key) for key in KEYS])
    assert ask(client) == some_parts


def test_groups_are_the_same_with_and_without(client: QueryClient, half_written: ClickHouseSettings) -> None:
    """A property of that very name is no group; a number is a key as it is written."""
    said = ['{"company":"acme"}', '{"company":-0.0}', '{"company":1e20}', '{"company":["acme"]}', '{"team":"acme"}']
    texts = [f'{{"$groups":{groups}}}' for groups in said]
    texts += [f'{{"$groups.company":"other","$groups":{groups}}}' for groups in said] + ['{"$groups.company":"other"}']
    time = START + timedelta(days=9)
    events = [Event(str(uuid.uuid4()), "in group", f"u{i}", time, text) for i, text in enumerate(texts)]
    store(half_written, {"project_0": History(events)})
    window = {"since": "2024-01-09", "until": "2024-01-11"}
    counted = {**window, "series": [{"event": None, "measure": "people"}]}
    asked = [
        ("trends", {**counted, "breakdown": "group.company"}),
        ("trends", {**counted, "aggregate_by": "company"}),
        *[("events", {**window, "filter": {"group.company": key}}) for key in ("acme", "0", "-0", "other")],
    ]

    def answers(of: QueryClient) -> list[Any]:
        return [of.ask(f"/query/{kind}", "hr_key_0", body) for kind, body in asked]

    without = answers(client)
    operate(
        half_written, [partial(promote, cluster=half_written.clickhouse_cluster, key="$groups.company", new_only=False)]
    )
    with QueryClient.started(half_written, projects=1, keys_refresh_s=0.05) as running:
        eventually(lambda: count_marked(running), bool)
        assert answers(running) == without
    assert [len(answer["events"]) for answer in without[2:]] == [2, 2, 0, 0]


def test_a_running_service_takes_notice(clickhouse: ClickHouseSettings, client: QueryClient) -> None:
    with QueryClient.started(clickhouse, projects=1, keys_refresh_s=0.05) as running:
        eventually(lambda: count_marked(running), bool)
        drop_column(clickhouse, "marked")
        assert count_marked(running) == count_marked(client) == 0
        add_column(clickhouse, "marked", MARKED)
        eventually(lambda: count_marked(running), bool)


def test_a_column_that_an_older_version_made_is_not_read(clickhouse: ClickHouseSettings) -> None:
    """It has other values: of a whole number beyond 64 bits a string, say."""
    add_column(clickhouse, "old", "String MATERIALIZED JSONExtractRaw(properties, 'old')")
    assert "old" not in [promoted.key for promoted in operate(clickhouse, [list_promoted])[0]]
    cluster = clickhouse.clickhouse_cluster
    operate(clickhouse, [partial(promote, cluster=cluster, key="old", new_only=True)])
    assert "old" in [promoted.key for promoted in operate(clickhouse, [list_promoted])[0]]
    operate(clickhouse, [partial(demote, cluster=cluster, key="old")])


def test_what_is_read_all_the_time_is_promoted_by_itself(
    clickhouse: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promoter, "_LEAST_READ_S", 0.05)
    monkeypatch.setattr(promoter, "_EVERY_S", 0.1)
    key = "asked.often"
    events = [
        Event(str(uuid.uuid4()), "read", f"u{i}", START + timedelta(minutes=i), json.dumps({"asked": {"often": i % 3}}))
        for i in range(50)
    ]
    store(clickhouse, {"project_0": History(events)})
    (before,) = operate(clickhouse, [list_promoted])
    limit = len(before) + 1
    asked = {"since": "2024-01-01", "series": [{"event": "read"}], "interval": "month", "breakdown": key}
    bodies = [{**asked, "until": f"2024-01-03T00:{i // 60:02d}:{i % 60:02d}Z"} for i in range(40)]
    with QueryClient.started(clickhouse, projects=1, keys_refresh_s=0.05, query_promote_up_to=limit) as running:
        # Answers that are kept read nothing, so each body is another one.
        answers = [running.ask("/query/trends", "hr_key_0", body) for body in bodies[:20]]
        (rows,) = eventually(
            lambda: [each for each in operate(clickhouse, [list_promoted])[0] if each not in before],
            lambda found: bool(found) and found[0].rows_written == found[0].rows,
        )
        assert rows.key == key
        assert [running.ask("/query/trends", "hr_key_0", body) for body in bodies[:5]] == answers[:5]
        # No more than so many.
        for body in bodies[20:]:
            running.ask("/query/trends", "hr_key_0", {**body, "breakdown": "another"})
        assert len(operate(clickhouse, [list_promoted])[0]) == limit
    operate(clickhouse, [partial(demote, cluster=clickhouse.clickhouse_cluster, key=key)])


@pytest.fixture
def headrace(
    clickhouse: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs `headrace properties ...`: its exit code, and the words that it says."""
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", clickhouse.clickhouse_url)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_USER", clickhouse.clickhouse_user)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_PASSWORD", clickhouse.clickhouse_password)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_DATABASE", clickhouse.clickhouse_database)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_CLUSTER", clickhouse.clickhouse_cluster)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["headrace", "properties", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), " ".join((said.out + said.err).split())

    return run


def test_the_command(half_written: ClickHouseSettings, headrace: Callable[..., tuple[int, str]]) -> None:
    promoted = "promoted device.os: new events are stored with it, queries use it within seconds"
    assert headrace("promote", "device.os", "--new-only") == (0, promoted)
    watch = "ClickHouse writes it for the stored events in the background; see `headrace properties list`"
    assert headrace("promote", "device.os") == (0, f"{promoted} {watch}")
    code, said = headrace("list")
    assert code == 0
    assert "device.os" in said
    refused = "headrace: only keys of 1 to 64 of the characters A-Z a-z 0-9 _ - . $ can be promoted"
    assert headrace("promote", "it's") == (1, refused)
    code, said = headrace("demote", "nothing")
    assert code == 1
    assert said.startswith("headrace: nothing is not promoted; promoted are: ")
    assert headrace("demote", "device.os") == (0, "demoted device.os")


def test_a_column_that_is_being_written_goes_when_its_turn_comes(
    half_written: ClickHouseSettings, headrace: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_TIMEOUT_S", "3")
    events = own_rows(half_written, EVENTS)
    send_sql(half_written, f"SYSTEM STOP MERGES {events}")
    try:
        assert headrace("promote", "slow.one")[0] == 0
        code, said = headrace("demote", "slow.one")
    finally:
        send_sql(half_written, f"SYSTEM START MERGES {events}")
    assert code == 1
    assert said.startswith("headrace: ClickHouse has not dropped the column of slow.one yet")
    eventually(lambda: headrace("list"), lambda answer: "slow" not in answer[1])
    mutations = on_replicas(half_written.clickhouse_cluster, "system.mutations")
    under_way = f"SELECT count() FROM {mutations} WHERE NOT is_done"
    eventually(lambda: send_sql(half_written, under_way).strip(), lambda count: count == "0")
