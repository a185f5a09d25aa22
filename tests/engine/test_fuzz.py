"""Odd texts through the edge into ClickHouse and back: what comes back, what a filter finds and what Python reads are one,
or the edge refuses that event, by its index. Nothing is answered with 5xx.

`make fuzz` tries 100,000 texts, the tests 2,000.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contract.tables import EVENTS as EVENTS_TABLE
from services.runtime.keys import KeyCache
from services.runtime.settings import ClickHouseSettings
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.keys import MemoryKeyStore
from tests.support.engine import insert_lines
from tests.support.json_texts import EVENTS, MUTATED, VARIANTS, UnreadableError, is_ambiguous, levels, read_event, same
from tests.support.oracle import MISSING, property_of
from tests.support.query_client import QueryClient
from tests.unit.edge.conftest import application

TEXTS = int(os.environ.get("HEADRACE_FUZZ_TEXTS", "2000"))
_TEXTS_AT_ONCE = 20
_NONE_VALID = re.compile(r"\(and (\d+) more: no event of the batch is valid\)$")
# What the edge may have against a text that Python can read.
_REASONS = {"invalid_field", "missing_field", "invalid_timestamp", "too_deep", "event_too_large", "invalid_json"}


class Stack:
    """Edge, store and query service. `send` gives what became of each text."""

    def __init__(self, clickhouse: ClickHouseSettings, client: QueryClient) -> None:
        self._clickhouse = clickhouse
        self.client = client
        self._keys = MemoryKeyStore()
        self.log = MemoryEventLog()
        cache = KeyCache(self._keys, refresh_s=60)
        client.run(cache.refresh())
        transport = httpx.ASGITransport(application(self.log, cache), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://edge")

    def project(self) -> str:
        """A key of a project without events."""
        project, key = next(self.client.projects)
        self._keys.put(f"{key}_in", project, "ingest")
        return key

    def send(self, texts: Sequence[bytes], key: str) -> list[str | None]:
        """The event's id, or None where it was refused. A batch whose brackets do not match, or join two texts, is sent
        one by one."""
        body = b'{"events":[' + b",".join(texts) + b"]}"
        response = self._post("/v1/analytics/batch", body, key)
        answer = response.json()
        if "errors" in answer or "accepted" in answer:
            errors = answer.get("errors", [])
            assert {error["code"] for error in errors} <= _REASONS
            if answer.get("accepted", 0) + len(errors) == len(texts):
                return self._ids(len(texts), [error["index"] for error in errors])
            self.log.clear()
        elif (found := _NONE_VALID.search(answer["error"]["message"])) and int(found[1]) + 1 == len(texts):
            return [None] * len(texts)
        return [self._send_alone(text, key) for text in texts]

    def _send_alone(self, text: bytes, key: str) -> str | None:
        response = self._post("/v1/analytics/track", text, key)
        if response.status_code != 200:
            assert response.json()["error"]["code"] in _REASONS | {"invalid_encoding"}
            return None
        return self._ids(1, [])[0] if response.json()["accepted"] == 1 else None

    def _post(self, path: str, body: bytes, key: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}_in", "content-type": "application/json"}
        response = self.client.run(self.http.post(path, content=body, headers=headers))
        assert response.status_code in (200, 400, 413), response.text
        return response

    def _ids(self, texts: int, refused: Sequence[int]) -> list[str | None]:
        """Of what was logged just now, which is stored by that."""
        lines = self.log.event_lines
        self.log.clear()
        insert_lines(self._clickhouse, EVENTS_TABLE, b"\n".join(lines))
        ids = iter([json.loads(line)["event_id"] for line in lines])
        found = [None if i in refused else next(ids) for i in range(texts)]
        assert next(ids, None) is None
        return found

    def ask(self, key: str, **query: Any) -> list[dict[str, Any]]:
        body = {"since": "2026-11-01", "until": "2026-12-01", **query}
        events: list[dict[str, Any]] = self.client.ask("/query/events", key, body)["events"]
        return events


@pytest.fixture(scope="module")
def stack(clickhouse: ClickHouseSettings) -> Iterator[Stack]:
    with QueryClient.started(clickhouse, projects=TEXTS // _TEXTS_AT_ONCE * 4 + 200, keys_refresh_s=60) as client:
        running = Stack(clickhouse, client)
        yield running
        client.run(running.http.aclose())


def check(stack: Stack, texts: Sequence[bytes], choose: Any) -> None:
    key = stack.project()
    ids = stack.send(texts, key)
    stored = {event["event_id"].replace("-", ""): event["properties"] for event in stack.ask(key)}
    assert stored.keys() == {event_id for event_id in ids if event_id}
    for text, event_id in zip(texts, ids, strict=True):
        check_reading(text, None if event_id is None else stored[event_id])
    check_filters(stack, key, stored, choose)


def check_reading(text: bytes, properties: dict[str, Any] | None) -> None:
    """Python reads of a text what came back. What was refused, it cannot read, or has a reason of ours."""
    try:
        read = read_event(text)
    except UnreadableError:
        # Unknown fields may hold anything; then Python's whole reading says nothing.
        return
    expected = read.get("properties") or {}
    if properties is None:
        assert not is_certain(read), text
    else:
        assert same(properties, expected), (text, properties, expected)


def is_certain(read: dict[str, Any]) -> bool:
    """Whether nothing can be said against an event that was read so."""
    properties = read.get("properties")
    return (
        read.get("event") in ("fuzz", "again")
        and read.get("distinct_id") == "u"
        and read.keys() <= {"event", "distinct_id", "properties", "else"}
        and (properties is None or (isinstance(properties, dict) and levels(properties) <= 32))
    )


def check_filters(stack: Stack, key: str, stored: dict[str, dict[str, Any]], choose: Any) -> None:
    """One of the values that are there is looked for, and whether there is one at all."""
    pairs = [
        (name, value)
        for properties in stored.values()
        for name, value in properties.items()
        if not isinstance(value, dict | list) and is_asked_for(name)
    ]
    if not pairs:
        return
    name, value = choose(st.sampled_from(pairs))
    values = {event_id: property_of(properties, name) for event_id, properties in stored.items()}
    equal = {event_id for event_id, found in values.items() if same(found, value)}
    either = {event_id for event_id in equal if is_ambiguous(values[event_id], value)}
    assert found_by(stack, key, {name: value}) | either == equal, (name, value, values)
    there = {event_id for event_id, found in values.items() if found is not MISSING}
    assert found_by(stack, key, {name: {"exists": True}}) == there, name
    if not isinstance(value, str):
        members = {event_id for event_id, found in values.items() if has_member(found, value, same)}
        either = {event_id for event_id in members if has_member(values[event_id], value, is_ambiguous)}
        assert found_by(stack, key, {name: {"contains": value}}) | either == members, (name, value, values)


def has_member(found: Any, value: Any, holds: Callable[[Any, Any], bool]) -> bool:
    return isinstance(found, list) and any(holds(member, value) for member in found)


def is_asked_for(name: str) -> bool:
    return "\0" not in name and name.count(".") < 15


def found_by(stack: Stack, key: str, condition: dict[str, Any]) -> set[str]:
    return {
        event["event_id"].replace("-", "")
        for event in stack.ask(key, filter={f"properties.{name}": value for name, value in condition.items()})
    }


OPTIONS = settings(
    max_examples=max(1, TEXTS // _TEXTS_AT_ONCE // 2),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@OPTIONS
@given(st.lists(EVENTS, min_size=_TEXTS_AT_ONCE, max_size=_TEXTS_AT_ONCE), st.data())
def test_random_events(stack: Stack, texts: list[bytes], data: st.DataObject) -> None:
    check(stack, texts, data.draw)


@OPTIONS
@given(st.lists(MUTATED, min_size=_TEXTS_AT_ONCE // VARIANTS, max_size=_TEXTS_AT_ONCE // VARIANTS), st.data())
def test_mutated_events(stack: Stack, variants: list[list[bytes]], data: st.DataObject) -> None:
    check(stack, [text for texts in variants for text in texts], data.draw)
