"""Pages of events that lie on two shards. Which times a page may have is looked up on the shard that is asked."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services.contract.tables import EVENTS
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import send_sql
from tests.support.query_client import QueryClient

_WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
_SECONDS, _LIMIT = 60, 7


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse) as client:
        yield client


def _line(project_id: str, second: int) -> bytes:
    event = {
        **{"project_id": project_id, "event_id": str(uuid.uuid4()), "event": "e", "distinct_id": str(second)},
        **{"timestamp": f"2024-01-01T00:00:{second:02d}Z", "received_at": "2024-01-01T00:00:00Z", "properties": "{}"},
    }
    return json.dumps(event).encode()


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    "is_on_first",
    [
        lambda second: True,
        lambda second: False,
        lambda second: second % 2 == 0,
        lambda second: second < _SECONDS // 2,
        lambda second: second >= _SECONDS // 2,
        lambda second: second % 10 == 0,
        lambda second: second % 10 != 0,
    ],
    ids=["all", "none", "even", "early", "late", "few", "most"],
)
def test_every_event_is_on_one_page_in_its_order(
    client: QueryClient, clickhouse: ClickHouseSettings, is_on_first: Callable[[int], bool], order: str
) -> None:
    project_id, key = next(client.projects)
    # Not through the table of all shards, which would choose the shard by the event's id.
    for shard, ours in ((1, True), (2, False)):
        lines = [_line(project_id, second) for second in range(_SECONDS) if is_on_first(second) == ours]
        sql = (
            f"INSERT INTO {EVENTS} SETTINGS insert_shard_id = {shard}, date_time_input_format = 'best_effort' "
            "FORMAT JSONEachRow"
        )
        if lines:
            send_sql(clickhouse, sql, b"\n".join(lines))
    seen: list[int] = []
    cursor: dict[str, Any] = {}
    while True:
        body = {**_WINDOW, "order": order, "limit": _LIMIT, **cursor}
        page: dict[str, Any] = client.ask("/query/events", key, body)
        places = [int(event["distinct_id"]) for event in page["events"]]
        assert len(places) == min(_LIMIT, _SECONDS - len(seen))
        seen += places
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == sorted(range(_SECONDS), reverse=order == "desc")
    on_first = send_sql(
        clickhouse, f"SELECT count() FROM {EVENTS} WHERE project_id = '{project_id}' AND _shard_num = 1"
    )
    assert int(on_first) == sum(map(is_on_first, range(_SECONDS)))
