"""Live events: what is stored from now on, once, filtered, soon, in bounds; and single events, people, groups by name."""

import asyncio
import dataclasses
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import DELETED_IDS, IDENTITY_LOG
from services.query.execution.project_facts import ProjectFacts
from services.query.http import live
from services.runtime import http
from services.runtime.keys import hash_of, revoke_key
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import insert_lines, opened_store, send_sql
from tests.support.histories import store
from tests.support.oracle import Event, History
from tests.support.oracle_people import Call, PeopleHistory
from tests.support.people import store_people
from tests.support.query_client import QueryClient, insert_keys


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=40) as client:
        yield client


def event(name: str, who: str, received: datetime, **properties: Any) -> Event:
    return Event(str(uuid.uuid4()), name, who, received - timedelta(days=1), json.dumps(properties), received)


def at_once(settings: ClickHouseSettings, events: list[Event]) -> list[Event]:
    """The same with ids of one shard: an insert comes into sight on one shard after the other, and a stream may look between."""
    shards = "(SELECT greatest(1, sum(shard_weight)) FROM system.clusters WHERE cluster = '{}')"
    ids = send_sql(
        settings,
        f"SELECT generateUUIDv4(number) AS id FROM numbers({1000 * len(events):d}) "
        f"WHERE sipHash64(id) % {shards.format(settings.clickhouse_cluster)} = 0 LIMIT {len(events):d}",
    ).split()
    return [dataclasses.replace(one, event_id=event_id) for one, event_id in zip(events, ids, strict=True)]


class Stream:
    """What came of a stream, message by message: (event, data, id)."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._text = ""
        self.messages: list[tuple[str, Any, str]] = []
        self.last_id = ""

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        self._text += message.get("body", b"").decode()
        *whole, self._text = self._text.split("\n\n")
        for one in whole:
            fields = dict(line.split(": ", 1) for line in one.splitlines() if not line.startswith(":"))
            self.last_id = fields.get("id", self.last_id)
            if "event" in fields:
                self.messages.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))

    async def until(self, number: int, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while len(self.messages) < number:  # noqa: ASYNC110 (nobody tells us)
                await asyncio.sleep(0.02)

    def names(self) -> list[str]:
        return [data["event"] for kind, data, _ in self.messages if kind == "event"]


@asynccontextmanager
async def opened(client: QueryClient, key: str, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    """Over ASGI itself: the client library's transport waits for the end of an answer."""
    gone = asyncio.Event()
    stream = Stream()

    async def receive() -> Any:
        if stream.status == 0 and not asked:
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    asked: list[bool] = []
    given = {"authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET"},
        **{"path": f"{BASE_PATH}/events/live", "raw_path": b"", "query_string": query.encode(), "root_path": ""},
        **{"scheme": "http", "server": ("query", 80), "client": ("c", 1)},
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    task = asyncio.create_task(client.app(scope, receive, stream.send))
    try:
        async with asyncio.timeout(10):
            while not stream.status:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield stream
    finally:
        gone.set()
        await asyncio.wait_for(task, 10)


def test_what_is_stored_from_now_on_once_within_three_seconds(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    (project, key), (other, _) = next(client.projects), next(client.projects)
    now = datetime.now(UTC)
    store(clickhouse, {project: History([event("before", "u1", now - timedelta(seconds=1))], {"u1": "u2"})})

    async def follow() -> None:
        async with opened(client, key) as stream, opened(client, key, 'filter={"n":{"gte":2}}') as filtered:
            assert stream.headers["content-type"].startswith("text/event-stream")
            began = time.monotonic()
            fresh = at_once(clickhouse, [event(f"e{i}", "u1", datetime.now(UTC), n=i) for i in range(3)])
            store(clickhouse, {project: History(fresh), other: History([event("foreign", "u1", now)])}, repeats=2)
            await stream.until(3, 10)
            assert time.monotonic() - began < 3
            assert stream.names() == ["e0", "e1", "e2"]
            assert stream.messages[0][1]["person_id"] == "u2"
            # One that was received before them, and comes into sight later.
            store(clickhouse, {project: History([event("late", "u3", fresh[0].received or now, n=9)])})
            await stream.until(4, 10)
            await filtered.until(2, 10)
            assert stream.names() == ["e0", "e1", "e2", "late"]
            assert sorted(filtered.names()) == ["e2", "late"]
            last_id = stream.messages[0][2]
        # A client that was away goes on where it was.
        async with opened(client, key, last_event_id=last_id) as stream:
            await stream.until(3, 10)
            assert set(stream.names()) >= {"e1", "e2", "late"}

    client.run(follow())
    assert "headrace_query_live_streams 0.0" in client.send("GET", "/metrics").text


def test_a_stream_ends_with_its_key(clickhouse: ClickHouseSettings) -> None:
    """Of two keys of a project, one is revoked."""
    with QueryClient.started(clickhouse, projects=1, keys_refresh_s=0.05) as client:
        project, stays = next(client.projects)
        insert_keys(clickhouse, [(project, "hr_revoked", ["query"])])

        async def follow() -> None:
            async with opened(client, "hr_revoked") as stream, opened(client, stays) as other:
                store(clickhouse, {project: History([event("before", "u1", datetime.now(UTC))])})
                await stream.until(1, 10)
                async with opened_store(clickhouse) as database:
                    assert await revoke_key(database, hash_of("hr_revoked")) == 1
                await asyncio.sleep(1)  # many looks
                store(clickhouse, {project: History([event("after", "u1", datetime.now(UTC))])})
                await other.until(2, 10)
                await asyncio.sleep(0.5)
                assert (stream.names(), other.names()) == (["before"], ["before", "after"])

        with patch.object(live, "EVERY_S", 0.05):
            client.run(follow())


def test_an_event_is_one_line_of_the_stream(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    now = datetime.now(UTC)
    name = "next\x85line"
    text = '{"a":\r1,\r\t"b":"\\r\\n","pasted":"one\u2028two\u2029"\r}'
    returns = Event(str(uuid.uuid4()), name, "u", now - timedelta(days=1), text, now)

    async def follow() -> None:
        async with opened(client, key) as stream:
            store(clickhouse, {project: History([dataclasses.replace(returns, received=datetime.now(UTC))])})
            await stream.until(1, 10)
            data = stream.messages[0][1]
            assert data["properties"] == {"a": 1, "b": "\r\n", "pasted": "one\u2028two\u2029"}
            assert data["event"] == name

    client.run(follow())


def test_more_than_are_sent_at_once_leave_a_gap(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)

    async def follow() -> None:
        async with opened(client, key) as stream:
            now = datetime.now(UTC) + timedelta(seconds=1)
            many = [event(f"e{i}", "u", now + timedelta(milliseconds=i)) for i in range(7)]
            store(clickhouse, {project: History(at_once(clickhouse, many))})
            await stream.until(4, 10)
            assert stream.messages[0][:2] == ("gap", {"more_than": 3})
            assert stream.names() == ["e4", "e5", "e6"]

    with patch.object(live, "MAX_AT_ONCE", 3):
        client.run(follow())


def test_what_comes_into_sight_in_parts_comes_once_or_is_a_gap(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    """As the rows of an insert do, where there are shards."""
    project, key = next(client.projects)

    async def follow() -> None:
        for parts in ((1, 3, 4, 6), (0, 2, 5)), ((0, 5), (1, 2, 3, 4, 6)):
            now = datetime.now(UTC) + timedelta(seconds=1)
            many = [event(f"e{i}", "u", now + timedelta(milliseconds=i)) for i in range(7)]
            async with opened(client, key) as stream:
                for part in parts:
                    had = len(stream.messages)
                    store(clickhouse, {project: History(at_once(clickhouse, [many[i] for i in part]))})
                    await stream.until(had + 1, 10)
                await asyncio.sleep(1.5 * live.EVERY_S)
                said = [data["event"] if kind == "event" else kind for kind, data, _ in stream.messages]
                if len(parts[0]) > 3:
                    # What is behind the first one that came after the gap is not lost.
                    assert said == ["gap", "e3", "e4", "e6", "e5"]
                else:
                    assert said == ["e0", "e5", "gap", "e3", "e4", "e6"]

    with patch.object(live, "MAX_AT_ONCE", 3):
        client.run(follow())


def test_more_bytes_than_are_sent_at_once_leave_a_gap(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    """Of events as large as they may be, all together are more than a result may have."""
    project, key = next(client.projects)

    async def follow() -> None:
        async with opened(client, key) as stream:
            now = datetime.now(UTC) + timedelta(seconds=1)
            many = [event(f"e{i}", "u", now + timedelta(milliseconds=i), text="x" * 500_000) for i in range(40)]
            store(clickhouse, {project: History(at_once(clickhouse, many))})
            await stream.until(9, 20)
            assert stream.messages[0][:2] == ("gap", {"more_than": 8})
            assert stream.names() == [f"e{i}" for i in range(32, 40)]
            store(clickhouse, {project: History([event("next", "u", now + timedelta(seconds=1))])})
            await stream.until(10, 20)
            assert stream.names()[8:] == ["next"]

    client.run(follow())


def test_one_that_comes_into_sight_late_is_sent_however_many_came_since(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    project, key = next(client.projects)

    async def follow() -> None:
        async with opened(client, key) as stream:
            now = datetime.now(UTC) + timedelta(seconds=1)
            some = at_once(clickhouse, [event(f"e{i}", "u", now + timedelta(milliseconds=i)) for i in range(9)])
            for i in range(0, 9, 3):
                store(clickhouse, {project: History(some[i : i + 3])}, repeats=2)
                await stream.until(i + 3, 10)
            late = [event(f"late{i}", "u", now + timedelta(microseconds=500 + i)) for i in range(2)]
            store(clickhouse, {project: History(at_once(clickhouse, late))}, repeats=2)
            await stream.until(11, 10)
            # With a gap, what was left out stays so.
            many = [event(f"m{i}", "u", now + timedelta(seconds=1, milliseconds=i)) for i in range(7)]
            store(clickhouse, {project: History(at_once(clickhouse, many))})
            await stream.until(15, 10)
            await asyncio.sleep(2.5 * live.EVERY_S)
            assert stream.names() == [*(f"e{i}" for i in range(9)), "late0", "late1", "m4", "m5", "m6"]
            assert [kind for kind, *_ in stream.messages].count("gap") == 1

    with patch.object(live, "MAX_AT_ONCE", 3):
        client.run(follow())


def test_a_stream_that_breaks_goes_on_behind_what_it_had(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)

    def put(*names: str, at_ms: int) -> None:
        received = [began[0] + timedelta(milliseconds=at_ms + i) for i in range(len(names))]
        events = [event(*one) for one in zip(names, "u" * 9, received, strict=False)]
        store(clickhouse, {project: History(at_once(clickhouse, events))})

    began: list[datetime] = []

    async def follow() -> None:
        async with opened(client, key) as stream:
            await asyncio.sleep(0.1)
            last = stream.last_id
            began.append(datetime.now(UTC))
        # Nothing had come yet.
        put("a", "b", at_ms=0)
        async with opened(client, key, last_event_id=last) as stream:
            await stream.until(2, 10)
            put("c", at_ms=50)
            await stream.until(3, 10)
            # One that came into sight late does not bring what was received after it again.
            put("late", at_ms=20)
            await stream.until(4, 10)
            assert stream.names() == ["a", "b", "c", "late"]
            last = stream.last_id
        put("d", at_ms=60)
        for _ in range(2):
            async with opened(client, key, last_event_id=last) as stream:
                await stream.until(1, 10)
                await asyncio.sleep(1.5 * live.EVERY_S)
                assert stream.names() == ["d"]
        async with opened(client, key, last_event_id=stream.last_id) as stream:
            await asyncio.sleep(1.5 * live.EVERY_S)
            assert stream.names() == []

    client.run(follow())


def test_an_id_of_the_future_is_none_of_a_stream(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)

    async def follow() -> None:
        async with opened(client, key, last_event_id="9" * 17) as stream:
            store(clickhouse, {project: History([event("now", "u1", datetime.now(UTC))])})
            await stream.until(1, 10)

    client.run(follow())


def test_of_many_that_come_at_once_so_many_are_opened(client: QueryClient) -> None:
    _, key = next(client.projects)

    async def follow() -> list[int]:
        async with AsyncExitStack() as opening:
            streams = [opening.enter_async_context(opened(client, key)) for _ in range(live.MAX_STREAMS_OF_PROJECT + 5)]
            return sorted(stream.status for stream in await asyncio.gather(*streams))

    for _ in range(2):  # the second time there is room again
        assert client.run(follow()) == [200] * live.MAX_STREAMS_OF_PROJECT + [429] * 5


def test_whoever_asks_for_the_head_alone_takes_no_place(client: QueryClient) -> None:
    _, key = next(client.projects)
    for _ in range(live.MAX_STREAMS_OF_PROJECT + 1):
        answer = client.send("HEAD", f"{BASE_PATH}/events/live", key)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].startswith("text/event-stream")


def test_streams_are_bounded_and_end_with_the_service(client: QueryClient) -> None:
    _, key = next(client.projects)
    _, other = next(client.projects)

    async def follow() -> None:
        async with opened(client, key) as first, opened(client, key) as second, opened(client, other) as of_other:
            assert (first.status, second.status, of_other.status) == (200, 429, 200)
        async with opened(client, key) as first:
            assert first.status == 200
            http.STOPPING.set()
            await asyncio.sleep(live.EVERY_S + 0.2)

    try:
        with patch.object(live, "MAX_STREAMS_OF_PROJECT", 1):
            client.run(follow())
    finally:
        http.STOPPING.clear()
    bad = client.send("GET", f"{BASE_PATH}/events/live?filter=[]", key)
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "invalid_filter")


def test_one_event(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    (project, key), (_, other) = next(client.projects), next(client.projects)
    one = event("a", "u1", datetime.now(UTC), x=2**53 + 1)
    store(clickhouse, {project: History([one, event("b", "u1", datetime.now(UTC))], {"u1": "u2"})}, repeats=1)
    path = f"{BASE_PATH}/events/{one.event_id}"
    found = client.send("GET", path, key).json()
    assert (found["event"], found["person_id"], found["properties"]) == ("a", "u2", {"x": 2**53 + 1})
    by_time = client.send("GET", path, key, params={"timestamp": found["timestamp"]})
    assert by_time.json() == found
    assert client.send("GET", path, key, params={"timestamp": "2020-01-01"}).status_code == 404
    assert client.send("GET", path, key, params={"timestamp": "x"}).json()["error"]["code"] == "invalid_timestamp"
    assert client.send("GET", path, other).status_code == 404
    assert client.send("GET", f"{BASE_PATH}/events/nothing", key).status_code == 404
    send_sql(
        clickhouse,
        f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) SELECT '{project}', 'u1', generateUUIDv4(), now() + 60",
    )
    assert client.send("GET", path, key).status_code == 404


def call(kind: str, who: str, minutes: int, traits: dict[str, Any], group: str = "") -> Call:
    time = datetime.now(UTC) - timedelta(minutes=minutes)
    return Call(str(uuid.uuid4()), kind, who, time, json.dumps(traits), "company" * bool(group), group)


def test_people_by_a_part_of_an_id_or_trait(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    calls = [
        call("identify", "ada", 3, {"name": "Ada Løvelace", "plan": "pro"}),
        call("identify", "bob", 3, {"name": "Bob", "friend": "none"}),
        call("identify", "bob", 2, {"friend": None, "old": "ada"}),
        call("identify", "bob", 1, {"old": None}),
    ]
    events = [event("a", "canada-7", datetime.now(UTC)), event("a", "device", datetime.now(UTC))]
    store_people(clickhouse, {project: PeopleHistory(events, {"device": "ada"}, calls)}, repeats=1)

    def search(text: str, **more: Any) -> Any:
        response = client.send("GET", f"{BASE_PATH}/persons", key, params={"search": text, **more})
        assert response.status_code == 200, response.text
        return response.json()

    assert [one["person_id"] for one in search("ADA")["people"]] == ["ada", "canada-7"]
    assert search("løvel") == {
        "people": [{"person_id": "ada", "traits": {"name": "Ada Løvelace", "plan": "pro"}}],
        "more": False,
    }
    assert [one["person_id"] for one in search("devic")["people"]] == ["ada"]
    assert search("a", limit=1)["more"]
    assert search("plan")["people"] == []  # a trait's name is none of its values
    for bad in ({}, {"search": "x" * 201}, {"search": "a", "limit": 0}, {"search": "\0"}):
        assert client.send("GET", f"{BASE_PATH}/persons", key, params=bad).status_code == 400


def test_texts_are_found_as_they_are_and_not_as_json_has_them(
    client: QueryClient, clickhouse: ClickHouseSettings
) -> None:
    project, key = next(client.projects)
    texts = {
        "quoted": 'Grace "Amazing" Hopper',
        "way": "C:\\temp",
        "lines": "first\nsecond\t",
        "shares": "100%_sure",
        "both": ["x", "y", {"deep": 'é"'}],
        "pasted": "one\u2028two",
        "pasted too": "one\u2028two\u2029three\n",
    }
    calls = [call("identify", who, 3, {"said": said}) for who, said in texts.items()]
    raw = json.dumps({"said": texts["pasted too"]}, ensure_ascii=False)
    calls += [Call(str(uuid.uuid4()), "identify", "pasted raw", calls[0].time, raw)]
    escaped = call("identify", "escaped", 3, {})
    calls.append(
        Call(
            escaped.event_id, "identify", "escaped", escaped.time, '{"site":"http:\\/\\/h.no\\/\\u00e5","q":"\\u0022"}'
        )
    )
    store_people(clickhouse, {project: PeopleHistory([], {}, calls)})

    def found(text: str) -> list[str]:
        answer = client.send("GET", f"{BASE_PATH}/persons", key, params={"search": text}).json()
        return sorted(one["person_id"] for one in answer["people"])

    assert found('"amazing"') == ["quoted"]
    assert found('"') == ["both", "escaped", "quoted"]
    assert found("\\") == found("c:\\temp") == ["way"]
    assert found("first\nsecond") == found("\t") == ["lines"]
    assert found("\\n") == []
    assert found("%") == found("_") == ["shares"]
    assert found('É"') == ["both"]
    assert found("://h.no/Å") == ["escaped"]
    assert found("One\u2028Two") == ["pasted", "pasted raw", "pasted too"]
    assert found("\u2029") == ["pasted raw", "pasted too"]
    for of_json in ("[", "{", ",", '","', "\\u00e5"):
        assert found(of_json) == []


@pytest.mark.parametrize("number", ["100.00", "1.10", "1e3", "-0.0", "5.0E-1", "123456.1234567890123", "1" * 30])
def test_numbers_are_found_as_they_were_sent(client: QueryClient, clickhouse: ClickHouseSettings, number: str) -> None:
    project, key = next(client.projects)
    time = datetime.now(UTC) - timedelta(hours=3)
    texts = {
        "alone": f'{{"n":{number}}}',
        "inside": f'{{"n":[{number}]}}',
        "escapes": f'{{"n":{number},"way":"a\\/b"}}',
    }
    calls = [Call(str(uuid.uuid4()), "identify", who, time, text) for who, text in texts.items()]
    store_people(clickhouse, {project: PeopleHistory([], {}, calls)})
    answer = client.send("GET", f"{BASE_PATH}/persons", key, params={"search": number})
    assert sorted(one["person_id"] for one in answer.json()["people"]) == sorted(texts)
    assert f'"n":{number}' in answer.text


@pytest.mark.parametrize("many", [False, True], ids=["few deleted", "many deleted"])
def test_people_by_an_id_that_a_call_said_to_be_theirs(
    client: QueryClient, clickhouse: ClickHouseSettings, many: bool
) -> None:
    """None of these ids has an event, or traits: a device that became ada's, one whose link did not count, and an alias."""
    project, key = next(client.projects)
    said = {
        "device-1": ("link", "ada"),
        "device-2": ("link", "eve"),
        "device-3": ("alias", "ada"),
        "gone": ("alias", "ada"),
    }
    of = {"device-1": "ada", "device-2": "bob", "device-3": "ada", "gone": "ada"}
    calls = [call("identify", who, 3, {"name": who.title()}) for who in ("ada", "bob", "eve")]
    store_people(clickhouse, {project: PeopleHistory([], of, calls)})
    time = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    rows = [
        {"project_id": project, "event_id": str(uuid.uuid4()), "kind": kind, "old_id": old, "distinct_id": user}
        | {"timestamp": time, "received_at": time, "set_once": "{}"}
        for old, (kind, user) in said.items()
    ]
    insert_lines(clickhouse, IDENTITY_LOG, "\n".join(map(json.dumps, rows)).encode())
    send_sql(
        clickhouse,
        f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) SELECT '{project}', 'gone', generateUUIDv4(), now() + 60",
    )

    def found(text: str) -> list[str]:
        answer = client.send("GET", f"{BASE_PATH}/persons", key, params={"search": text}).json()
        return sorted(one["person_id"] for one in answer["people"])

    with patch.object(ProjectFacts, "has_many_deleted", lambda *_: many):
        assert found("DEVICE-1") == found("evice-3") == ["ada"]
        assert found("device-2") == ["bob"]
        assert found("device") == ["ada", "bob"]
        assert found("gone") == []
        assert found("eve") == ["eve"]


def test_a_group(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    calls = [
        call("group", "u1", 9, {"seats": 5}, "a/b"),
        call("group", "u2", 8, {}, "a/b"),
        call("group", "u2", 7, {"seats": 1}, "other"),
        call("group", "u3", 6, {"city": "Oslo"}, "a/b"),
    ]
    store_people(clickhouse, {project: PeopleHistory([], {"u3": "u4"}, calls)})
    found = client.send("GET", f"{BASE_PATH}/groups/company/a/b", key).json()
    assert (found["traits"], found["members"], found["people"]) == ({"city": "Oslo", "seats": 5}, 2, ["u1", "u4"])
    assert found["first_seen"] < found["last_seen"]
    assert client.send("GET", f"{BASE_PATH}/groups/company/a%2Fb", key).json() == found
    for path in ("company/nothing", "nothing/a/b"):
        assert client.send("GET", f"{BASE_PATH}/groups/{path}", key).status_code == 404


def test_a_group_of_a_type_with_a_slash(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    project, key = next(client.projects)
    types = ["a/b", "/", "a//b", "x%2Fy", "ü?"]
    calls = [dataclasses.replace(call("group", f"u{i}", 9, {}, "k/1"), group_type=kind) for i, kind in enumerate(types)]
    store_people(clickhouse, {project: PeopleHistory([], {}, calls)})
    for i, kind in enumerate(types):
        found = client.send("GET", f"{BASE_PATH}/groups/{quote(kind, safe='')}/{quote('k/1', safe='')}", key).json()
        assert (found["group_type"], found["group_key"], found["people"]) == (kind, "k/1", [f"u{i}"])
    for path in ("a/b", "a", "a%2Fb", "", "/"):
        assert client.send("GET", f"{BASE_PATH}/groups/{path}", key).status_code == 404
