"""What clients of all kinds send, through the whole pipeline: it is kept once, and found as it was meant."""

import json
import socket
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.operations.dead_letters import read_letters
from services.runtime.settings import KafkaSettings
from tests.support.pipeline import KEY, Pipeline, eventually


def unique(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def events_named(pipeline: Pipeline, name: str) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    times = {"since": (now - timedelta(hours=1)).isoformat(), "until": (now + timedelta(hours=2)).isoformat()}
    return pipeline.walk({**times, "filter": {"event": name}})


def raw_request(body: bytes, *headers: str) -> bytes:
    head = ["POST /v1/analytics/track HTTP/1.1", "host: localhost", f"authorization: Bearer {KEY}", *headers]
    return "\r\n".join([*head, f"content-length: {len(body)}", "", ""]).encode() + body


def connect(pipeline: Pipeline) -> socket.socket:
    address = urlsplit(pipeline.base_url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


@pytest.mark.parametrize("offer", ["h2c", "websocket", "TLS/1.3, h2c"])
def test_a_client_that_offers_another_protocol_is_answered_as_others(pipeline: Pipeline, offer: str) -> None:
    name = unique("offer")
    body = json.dumps({"event": name, "distinct_id": "u"}).encode()
    upgrade = ("connection: Upgrade, HTTP2-Settings", f"upgrade: {offer}", "http2-settings: AAMAAABkAAQAAP__")
    with connect(pipeline) as connection:
        for _ in range(2):  # the connection goes on
            connection.sendall(raw_request(body, *upgrade))
            answer = connection.recv(65536)
            while answer and not answer.endswith(b"}"):
                answer += connection.recv(65536)  # head and body come in pieces
            assert answer.startswith(b"HTTP/1.1 200 OK"), answer
            assert answer.endswith(b'{"ok":true,"accepted":1}')
    assert len(eventually(lambda: events_named(pipeline, name), lambda found: len(found) == 2)) == 2


def test_what_is_sent_and_closed_at_once_is_kept(pipeline: Pipeline) -> None:
    name = unique("closed")
    body = json.dumps({"event": name, "distinct_id": "u"}).encode()
    for _ in range(100):
        with connect(pipeline) as connection:
            connection.sendall(raw_request(body))
    assert len(eventually(lambda: events_named(pipeline, name), lambda found: len(found) == 100)) == 100


def test_a_batch_under_a_header_is_stored_once_however_often_it_is_sent(pipeline: Pipeline) -> None:
    name, header = unique("batch"), {"Idempotency-Key": unique("key")}
    plain = {"event": name, "distinct_id": "u"}
    events = [plain, plain, {**plain, "properties": {"n": 1}}]
    for sent in (events, events, events[1:], [plain]):
        answer = pipeline.post("/batch", {"events": sent}, headers=header)
        assert answer.json() == {"ok": True, "accepted": len(sent)}
    last = unique("last")
    pipeline.ask("/track", {"event": last, "distinct_id": "u"})
    eventually(lambda: events_named(pipeline, last), lambda found: len(found) == 1)
    found = eventually(lambda: events_named(pipeline, name), lambda found: len(found) == 3)
    assert len(found) == 3
    assert len({event["idempotency_key"] for event in found}) == 3


def test_one_key_for_a_whole_flow_loses_nothing(pipeline: Pipeline) -> None:
    name, user, anonymous = unique("flow"), unique("user"), unique("anon")
    header = {"Idempotency-Key": unique("key")}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("/track", {"event": name, "distinct_id": anonymous}),
        ("/identify", {"distinct_id": user, "traits": {"plan": "pro"}}),
        ("/alias", {"old_id": anonymous, "new_id": user}),
        ("/group", {"distinct_id": user, "group_type": "company", "group_key": "acme"}),
    ]
    for _ in range(2):
        for path, body in calls:
            assert pipeline.post(path, body, headers=header).status_code == 200

    def person() -> Any:
        return pipeline.client.get(f"/persons/{user}").json()

    found = eventually(person, lambda p: p.get("events") == 1 and "company" in p.get("groups", {}))
    assert (found["traits"], found["groups"]) == ({"plan": "pro"}, {"company": "acme"})
    assert sorted(found["distinct_ids"]) == sorted([anonymous, user])


def test_of_a_batch_the_order_is_kept_and_what_is_cut_is_mended(pipeline: Pipeline) -> None:
    name = unique("order")
    at = datetime.now(UTC).replace(microsecond=0).isoformat()
    texts = [
        json.dumps({"event": name, "distinct_id": "u", "timestamp": at, "properties": {"n": n}}) for n in range(20)
    ]
    texts[7] = texts[7].replace('"n": 7', '"n": 7, "cut": "half \\ud83d", "plan": "free", "plan": "pro"')
    texts[9] = texts[9].replace('"n": 9', '"n": NaN')
    response = pipeline.client.post("/batch", content='{"events": [' + ",".join(texts) + "]}")
    answer = response.json()
    assert (answer["accepted"], [error["index"] for error in answer["errors"]]) == (19, [9])
    found = eventually(lambda: events_named(pipeline, name), lambda found: len(found) == 19)
    by_receipt = sorted(found, key=lambda event: event["received_at"])
    assert [event["properties"]["n"] for event in by_receipt] == [n for n in range(20) if n != 9]
    assert by_receipt[7]["properties"] == {"n": 7, "cut": "half \ufffd", "plan": "free"}


def test_an_id_with_a_line_feed_is_another_id(pipeline: Pipeline) -> None:
    user = unique("line")
    pipeline.ask("/identify", {"distinct_id": user, "traits": {"a": 1}})
    pipeline.ask("/identify", {"distinct_id": f"{user}\n", "traits": {"a": 2}})
    pipeline.ask("/identify", {"distinct_id": f"{user}\nb", "traits": {"a": 3}})

    def trait(address: str) -> Any:
        return pipeline.client.get(f"/persons/{address}").json().get("traits", {}).get("a")

    for address, value in ((user, 1), (f"{user}%0A", 2), (f"{user}%0Ab", 3)):
        assert eventually(partial(trait, address), lambda found: found is not None) == value
    assert pipeline.client.get(f"/persons/{user}%0A%0A").status_code == 404
    assert pipeline.client.post("/query/events%0A", json={}).status_code == 404


async def test_a_refused_event_of_any_size_is_a_whole_dead_letter(pipeline: Pipeline) -> None:
    name = unique("huge")
    events = [{"event": name, "distinct_id": "u", "properties": {"a": letter * 600_000}} for letter in "xyz"]
    answer = pipeline.post("/batch", {"events": [*events, {"event": name, "distinct_id": "u"}]}).json()
    assert (answer["accepted"], [error["index"] for error in answer["errors"]]) == (1, [0, 1, 2])
    settings = KafkaSettings(kafka_bootstrap=variable_of(pipeline, "HEADRACE_KAFKA_BOOTSTRAP"))
    letters = [stored async for stored in read_letters(settings) if name in stored.letter.payload]
    assert [json.loads(stored.letter.payload) for stored in letters] == events
    assert all(stored.offset >= 0 for stored in letters)


def variable_of(pipeline: Pipeline, name: str) -> str:
    """Of the file that commands read."""
    lines = (pipeline.data_dir / "env").read_text().splitlines()
    return next(line.partition("=")[2].strip("'\"") for line in lines if line.startswith(f"{name}="))
