"""Dead letters that are put back bring nothing deleted back."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.contract.log.dead_letter import DeadLetter, Origin
from services.operations.dead_letters import Replayed, StoredLetter, put_some_back, repaired_line
from services.runtime.clickhouse import ClickHouse
from services.runtime.deleted import deleted_lines
from services.runtime.settings import ClickHouseSettings
from tests.fakes.event_log import MemoryEventLog
from tests.support.query_client import QueryClient, insert_keys

SENT = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=2) as client:
        yield client


@pytest.fixture
def project(clickhouse: ClickHouseSettings) -> str:
    name = uuid.uuid4().hex
    insert_keys(clickhouse, [(name, f"key-{name}", ["query", "ingest"])])
    return name


def delete(client: QueryClient, project: str, body: dict[str, Any]) -> None:
    response = client.post("/privacy/delete", f"key-{project}", body)
    assert response.status_code == 200, response.text


def letter(project: str, distinct_id: str, time: datetime, came: datetime, service: str = "edge") -> StoredLetter:
    event: dict[str, Any] = {"event": "e", "distinct_id": distinct_id, "timestamp": time, "properties": {}}
    if service == "worker":
        event |= {"project_id": project, "event_id": uuid.uuid4().hex, "received_at": came}
    kept = DeadLetter(
        code="c",
        message="m",
        origin=Origin(service=service),
        payload=msgspec.json.encode(event).decode(),
        at=came,
        project_id=project,
    )
    return StoredLetter(partition=0, offset=0, letter=kept)


def put_back(client: QueryClient, clickhouse: ClickHouseSettings, *letters: StoredLetter) -> tuple[Replayed, list[str]]:
    """What was said of it, and whose events came back."""

    async def put() -> tuple[Replayed, list[str]]:
        log, store, replayed = MemoryEventLog(), ClickHouse(clickhouse), Replayed()
        try:
            await put_some_back(log, store, letters, replayed)
        finally:
            await store.close()
        lines = log.event_lines if replayed.put_back else []
        return replayed, [msgspec.json.decode(line)["distinct_id"] for line in lines]

    return client.run(put())


@pytest.mark.parametrize("service", ["edge", "worker"])
def test_a_person_that_was_deleted_stays_away(
    client: QueryClient, clickhouse: ClickHouseSettings, project: str, service: str
) -> None:
    delete(client, project, {"distinct_id": "gone"})
    now = datetime.now(UTC)
    letters = [
        letter(project, "gone", SENT, SENT, service),
        letter(project, "gone", SENT + timedelta(minutes=50), SENT, service),
        letter(project, "stays", SENT, SENT, service),
        letter(project, "gone", now - timedelta(hours=3), now, service),
    ]
    replayed, back = put_back(client, clickhouse, *letters)
    assert (replayed.put_back, replayed.deleted, back) == (1, 3, ["stays"])


def test_whoever_came_back_after_being_deleted_counts(
    client: QueryClient, clickhouse: ClickHouseSettings, project: str
) -> None:
    delete(client, project, {"distinct_id": "gone"})
    back_at = datetime.now(UTC) + timedelta(minutes=5)
    line = repaired_line(letter(project, "gone", back_at, back_at), back_at)[1]

    async def is_deleted() -> list[bool]:
        store = ClickHouse(clickhouse)
        try:
            return await deleted_lines(store, [line])
        finally:
            await store.close()

    assert client.run(is_deleted()) == [False]


@pytest.mark.parametrize("service", ["edge", "worker"])
def test_a_window_that_was_deleted_stays_empty(
    client: QueryClient, clickhouse: ClickHouseSettings, project: str, service: str
) -> None:
    hour = timedelta(hours=1)
    delete(client, project, {"since": (SENT - hour).isoformat(), "until": (SENT + hour).isoformat()})
    letters = [
        letter(project, "inside", SENT, SENT, service),
        letter(project, "first moment", SENT - hour, SENT, service),
        letter(project, "first after it", SENT + hour, SENT + hour, service),
        letter(project, "before", SENT - 2 * hour, SENT, service),
    ]
    replayed, back = put_back(client, clickhouse, *letters)
    assert (replayed.put_back, replayed.deleted, back) == (2, 2, ["first after it", "before"])


def test_a_deletion_is_its_project_s_alone(client: QueryClient, clickhouse: ClickHouseSettings, project: str) -> None:
    delete(client, project, {"distinct_id": "gone"})
    delete(client, project, {"since": "2000-01-01", "until": "2100-01-01"})
    replayed, back = put_back(client, clickhouse, letter("another", "gone", SENT, SENT))
    assert (replayed.put_back, replayed.deleted, back) == (1, 0, ["gone"])


def test_many_people_are_looked_up_in_parts(client: QueryClient, clickhouse: ClickHouseSettings, project: str) -> None:
    ids = [f"{'é' * 300}{n}" for n in range(250)]
    delete(client, project, {"distinct_id": ids[-1]})
    replayed, back = put_back(client, clickhouse, *[letter(project, name, SENT, SENT) for name in ids])
    assert (replayed.put_back, replayed.deleted) == (249, 1)
    assert ids[-1] not in back
