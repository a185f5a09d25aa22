"""What a query may hold, ClickHouse gets, also where one of its fields would be too long."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.contract.api.ingest import MAX_ID_CHARS
from services.contract.tables import EVENTS, IDENTITY_LOG
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import send_sql
from tests.support.query_client import QueryClient

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
AWKWARD = ["\\", "'", '"', "\n", "\t", "é", "🙂", "a"]
GROUPS = 400


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=1) as client:
        yield client


@pytest.mark.parametrize("char", AWKWARD)
async def test_lists_and_texts_arrive_as_they_are(clickhouse: ClickHouseSettings, char: str) -> None:
    store = await ClickHouse.connect(clickhouse)
    try:
        names = [f"{n}{char * 500}" for n in range(1000)]
        text = char * 300_000 + "end"
        sql = "SELECT {names:Array(String)}, {text:String}, {names:Array(String)}[1000] IN {names:Array(String)}"
        ((found_names, found_text, is_in),) = await store.rows(sql, {"names": names, "text": text})
        assert list(found_names) == names
        assert found_text == text
        assert is_in
        numbers = [2**64 - 1 - n for n in range(20_000)]
        ((found,),) = await store.rows("SELECT {numbers:Array(UInt64)}", {"numbers": numbers})
        assert list(found) == numbers
    finally:
        await store.close()


def test_a_funnel_of_as_many_long_names_as_it_may_have(client: QueryClient) -> None:
    steps = [{"event": [f"{step}-{n:02d}-{'🙂' * 190}" for n in range(100)]} for step in range(10)]
    body: dict[str, Any] = {**WINDOW, "steps": steps}
    assert [step["people"] for step in client.ask("/query/funnel", "hr_key_0", body)["steps"]] == [0] * 10


def test_a_page_of_groups_with_the_longest_keys(client: QueryClient, clickhouse: ClickHouseSettings) -> None:
    key = f"rightPad(toString(number), {MAX_ID_CHARS}, 'x')"
    send_sql(
        clickhouse,
        f"INSERT INTO {IDENTITY_LOG} (project_id, event_id, kind, distinct_id, timestamp, received_at, group_type, group_key) "
        f"SELECT 'project_0', generateUUIDv4(), 'group', concat('d', toString(number)), '2024-01-02', '2024-01-02', "
        f"'company', {key} FROM numbers({GROUPS})",
    )
    send_sql(
        clickhouse,
        f"INSERT INTO {EVENTS} (project_id, event_id, event, distinct_id, timestamp, received_at, properties) "
        "SELECT 'project_0', generateUUIDv4(), 'e', concat('d', toString(number)), '2024-01-03', '2024-01-03', '{}' "
        f"FROM numbers({GROUPS})",
    )
    query = {"type": "trends", **WINDOW, "series": [{"event": "e"}], "aggregate_by": "company"}
    answer = client.ask("/query/people", "hr_key_0", {"query": query, "limit": 1000})
    assert answer["count"] == len(answer["groups"]) == GROUPS
    assert {len(group["group_key"]) for group in answer["groups"]} == {MAX_ID_CHARS}
