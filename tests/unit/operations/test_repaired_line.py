"""A dead letter that is put back: whose it is, which event it is, and when it came are the letter's, never a client's."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from services.contract.api.errors import ApiError
from services.contract.log.dead_letter import DeadLetter, Origin
from services.contract.log.event_ids import id_of_key
from services.operations.dead_letters import StoredLetter, _letter_of, repaired_line
from services.worker.dead_letters import dead_letter

CAME = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = CAME + timedelta(days=3)
EDGE = Origin(service="edge", index=0)
WORKER = Origin(service="worker", topic="headrace.events", partition=0, offset=7, line=0)
VICTIM_ID = "ab" * 16


def line(**changed: Any) -> dict[str, Any]:
    """A line of the log, as a batch event of a client may look too."""
    return {
        "project_id": "victim",
        "event_id": VICTIM_ID,
        "event": "bought",
        "distinct_id": "somebody",
        "timestamp": "2026-11-20T10:00:00Z",
        "received_at": "2026-11-20T11:00:00Z",
        "properties": {"n": 1},
        **changed,
    }


def stored(payload: Any, origin: Origin, project_id: str = "sender", **fields: Any) -> StoredLetter:
    text = payload if isinstance(payload, str) else msgspec.json.encode(payload).decode()
    letter = DeadLetter(
        code="invalid_field", message="m", origin=origin, payload=text, at=CAME, project_id=project_id, **fields
    )
    return StoredLetter(partition=1, offset=5, letter=letter)


@pytest.mark.parametrize(
    "payload",
    [
        line(),
        line(idempotency_key="theirs"),
        line(event_id="abababab-abab-abab-abab-abababababab"),
        line(original_timestamp="2030-01-01T00:00:00Z"),
        {**line(), "project_id": None},
    ],
    ids=["as the log writes it", "with a key", "uuid", "original time", "null project"],
)
def test_what_a_client_wrote_is_an_event_of_its_own_project(payload: dict[str, Any]) -> None:
    event_id, taken = repaired_line(stored(payload, EDGE), NOW)
    assert taken.project_id == "sender"
    assert event_id.hex() == taken.event_id != VICTIM_ID
    assert taken.received_at == CAME
    key = payload.get("idempotency_key")
    assert event_id == id_of_key("sender", key or "dead-letter:1:5")
    assert taken.original_timestamp == ""


@pytest.mark.parametrize(
    "payload", ['[{"event":"a","distinct_id":"b"}]', "[]", " [[]]", "[1]"], ids=["events", "none", "nested", "no event"]
)
def test_an_array_is_no_event(payload: str) -> None:
    with pytest.raises(ApiError, match="one event"):
        repaired_line(stored(payload, EDGE), NOW)


@pytest.mark.parametrize("payload", ["", "{", "{}", "null", '"text"', '{"a":' * 5000 + "1" + "}" * 5000])
@pytest.mark.parametrize("origin", [EDGE, WORKER], ids=["edge", "worker"])
def test_what_is_still_no_event_is_refused(payload: str, origin: Origin) -> None:
    with pytest.raises(ApiError):
        repaired_line(stored(payload, origin), NOW)


def test_a_line_of_the_log_keeps_all_that_it_was() -> None:
    worker = stored(line(idempotency_key="k", original_timestamp="2031-01-01T00:00:00Z"), WORKER, project_id="")
    event_id, taken = repaired_line(worker, NOW)
    assert (taken.project_id, event_id.hex(), taken.idempotency_key) == ("victim", VICTIM_ID, "k")
    assert taken.received_at == CAME - timedelta(hours=1)
    assert taken.timestamp == CAME - timedelta(hours=2)
    assert taken.original_timestamp == "2031-01-01T00:00:00Z"


def test_project_and_id_of_a_letter_go_before_those_of_its_line() -> None:
    event_id, taken = repaired_line(stored(line(), WORKER, project_id="mine", event_id="cd" * 16), NOW)
    assert (taken.project_id, event_id.hex(), taken.event_id) == ("mine", "cd" * 16, "cd" * 16)


def test_a_letter_that_nobody_owns_says_what_to_do() -> None:
    with pytest.raises(ApiError, match="set `project_id` of the letter"):
        repaired_line(stored({"event": "e", "distinct_id": "d"}, WORKER, project_id=""), NOW)


@pytest.mark.parametrize(
    "received", ["2031-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-11-20T12:00:00"], ids=["late", "early", "naive"]
)
def test_a_time_of_receipt_that_cannot_be_is_that_of_the_letter(received: str) -> None:
    assert repaired_line(stored(line(received_at=received), WORKER), NOW)[1].received_at == CAME


def test_an_event_without_a_time_happened_when_it_came() -> None:
    taken = repaired_line(stored({"event": "e", "distinct_id": "d"}, EDGE), NOW)[1]
    assert (taken.timestamp, taken.received_at) == (CAME, CAME)


def test_putting_back_twice_is_one_event() -> None:
    letter = stored({"event": "e", "distinct_id": "d"}, EDGE)
    assert repaired_line(letter, NOW)[0] == repaired_line(letter, NOW + timedelta(days=1))[0]


def test_the_worker_s_letter_says_whose_it_is() -> None:
    bad = msgspec.json.encode(line(timestamp="yesterday"))
    letter = dead_letter(bad, "no time", WORKER, bytes.fromhex("cd" * 16))
    assert (letter.project_id, letter.event_id) == ("victim", "cd" * 16)
    assert dead_letter(bad, "no time", WORKER).event_id == VICTIM_ID


@pytest.mark.parametrize("bad", [b"", b"\xff", b"[1]", b"{", b'{"project_id": 5}', b'{"a":' * 5000], ids=range(6))
def test_the_worker_s_letter_of_what_cannot_be_read_says_nothing(bad: bytes) -> None:
    letter = dead_letter(bad, "unreadable", WORKER)
    assert (letter.project_id, letter.event_id) == ("", "")


def test_what_is_no_letter_keeps_no_other_from_being_read() -> None:
    for value in (b"{}", b"no letter \xe9", b"[" * 5000):
        record = ConsumerRecord("t", 1, 5, 1_700_000_000_000, 0, None, value, None, 0, len(value), ())
        letter = _letter_of(record)
        assert (letter.origin.partition, letter.origin.offset) == (1, 5)
        assert letter.payload.startswith(value[:5].decode())
        with pytest.raises(ApiError):
            repaired_line(StoredLetter(partition=1, offset=5, letter=letter), NOW)
