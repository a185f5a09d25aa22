"""Queries that need too much are refused with advice, and a query can only read."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.funnel import MAX_STEPS
from services.contract.tables import EVENTS
from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.memory_shares import RUN_AGAIN
from services.query.execution.project_facts import ProjectFacts
from services.query.execution.turns import StoreTurns
from services.runtime.clickhouse import ClickHouse, LimitExceededError, StoreError
from services.runtime.settings import ClickHouseSettings
from tests.fakes.transport import MemoryConnection
from tests.support.engine import send_sql
from tests.support.query_client import QueryClient

PEOPLE, EVENTS_EACH = 20_000, 15
WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}


def insert_crowd(settings: ClickHouseSettings, project: str, people: int) -> None:
    """People of whom each starts once and then does 14 things at random."""
    send_sql(
        settings,
        f"INSERT INTO {EVENTS} (project_id, event_id, event, distinct_id, timestamp, properties) "
        f"SELECT '{project}', generateUUIDv4(), if(step = 0, 'start', concat('e', toString(rand() % 40))), "
        "toString(person), toDateTime64('2024-01-01', 6, 'UTC') + step, '{}' "
        f"FROM (SELECT number % {people} AS person, intDiv(number, {people}) AS step "
        f"FROM numbers({people * EVENTS_EACH}))",
    )


@pytest.fixture(scope="module")
def crowd(clickhouse: ClickHouseSettings) -> str:
    """The key of a project of 20,000 people."""
    insert_crowd(clickhouse, "project_0", PEOPLE)
    return "hr_key_0"


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.started(clickhouse, projects=1) as client:
        yield client


def refused(client: QueryClient, key: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post(path, key, body)
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == "query_too_expensive"
    return error


def test_a_tree_of_too_many_nodes(client: QueryClient, crowd: str) -> None:
    deep = {**WINDOW, "start_event": "start", "max_depth": 14, "top": 100}
    error = refused(client, crowd, "/query/path", deep)
    assert "nodes" in error["message"]
    assert "`top`" in error["message"]
    answer = client.ask("/query/path", crowd, {**deep, "top": 2})
    assert answer["count"] == PEOPLE
    assert len(answer["children"]) == 2


@pytest.mark.parametrize(("steps", "conditions"), [(10, 10), (MAX_STEPS, 50)])
def test_too_many_conditions_in_all(client: QueryClient, crowd: str, steps: int, conditions: int) -> None:
    """The statement is longer than ClickHouse reads, or has more parameters. To try again would not help."""

    def funnel(steps: int, conditions: int) -> dict[str, Any]:
        filters = [{f"inner{j}.key{i}": {"gt": j} for j in range(conditions)} for i in range(steps)]
        return {**WINDOW, "steps": [{"event": "start", "filter": one} for one in filters]}

    error = refused(client, crowd, "/query/funnel", funnel(steps, conditions))
    assert "too many conditions" in error["message"]
    assert client.ask("/query/funnel", crowd, funnel(5, 2))["steps"][0]["people"] == 0


def test_too_many_periods(client: QueryClient, crowd: str) -> None:
    body = {**WINDOW, "until": "2024-03-01", "born_event": "start", "return_event": "e1", "interval": "hour"}
    error = refused(client, crowd, "/query/retention", body)
    assert error["field"] == "interval"
    assert "1000" in error["message"]


@pytest.mark.parametrize("order", ["ordered", "strict", "any"])
def test_the_longest_funnel_is_answered(
    client: QueryClient, clickhouse: ClickHouseSettings, crowd: str, order: str
) -> None:
    """Of two people one goes half of the way."""
    half = MAX_STEPS // 2
    send_sql(
        clickhouse,
        f"INSERT INTO {EVENTS} (project_id, event_id, event, distinct_id, timestamp, properties) "
        f"SELECT 'project_0', generateUUIDv4(), concat('{order}', toString(number % {MAX_STEPS})), "
        f"concat('{order}', toString(intDiv(number, {MAX_STEPS}))), "
        "toDateTime64('2024-01-02', 6, 'UTC') + number, '{}' "
        f"FROM numbers({MAX_STEPS + half})",
    )
    body = {**WINDOW, "order": order, "steps": [{"event": f"{order}{i}"} for i in range(MAX_STEPS)]}
    people = [step["people"] for step in client.ask("/query/funnel", crowd, body)["steps"]]
    assert people == [2] * half + [1] * (MAX_STEPS - half)


def test_small_questions_are_answered_while_large_ones_run(clickhouse: ClickHouseSettings) -> None:
    """As many large ones as a project may ask at once, and small ones of two projects: who is done first says it."""
    # A second and more for each, where a small one takes hundredths: a page of a day with few events.
    large = {**WINDOW, "steps": [{"event": f"e{i}"} for i in range(MAX_STEPS)]}
    small = {**WINDOW, "since": "2024-01-02", "limit": 1}

    with QueryClient.started(clickhouse, projects=2, query_concurrency_per_project=3) as client:
        (_, other), (project, key) = list(client.projects)
        insert_crowd(clickhouse, project, 10 * PEOPLE)

        async def post(path: str, key: str, body: dict[str, Any]) -> int:
            headers = {"authorization": f"Bearer {key}"}
            response = await client.http.post(BASE_PATH + path, headers=headers, json=body)
            return response.status_code

        async def small_ones_done_while_large_ones_run() -> int:
            running = [asyncio.create_task(post("/query/funnel", key, large)) for _ in range(2)]
            async with asyncio.timeout(30):
                while "headrace_query_running 2.0" not in (await client.http.get("/metrics")).text:  # noqa: ASYNC110 (nobody tells us)
                    await asyncio.sleep(0)
            done = 0
            for _ in range(5):
                assert await post("/query/events", key, small) == 200
                assert await post("/query/events", other, small) == 200
                done += not any(task.done() for task in running)
            assert await asyncio.gather(*running) == [200, 200]
            return done

        assert client.run(small_ones_done_while_large_ones_run()) == 5


def test_queries_end_whose_caller_has_gone(clickhouse: ClickHouseSettings) -> None:
    """Of a dashboard, too: it would else hold its place in the project's queue for as long as all of them take."""
    large = {"type": "funnel", **WINDOW, "steps": [{"event": f"e{i}"} for i in range(MAX_STEPS)]}
    queries = [{**large, "conversion_window_seconds": 1000 + i} for i in range(50)]

    with QueryClient.started(clickhouse, projects=1) as client:
        ((project, key),) = list(client.projects)
        insert_crowd(clickhouse, project, 10 * PEOPLE)
        board = client.ask("/dashboard/create", key, {"name": "large", "queries": queries})["dashboard_id"]

        async def running() -> bool:
            return "headrace_query_running 0.0" not in (await client.http.get("/metrics")).text

        async def leave() -> list[bool]:
            connection = MemoryConnection(client.app)
            head = f"POST {BASE_PATH}/dashboard/run/{board} HTTP/1.1\r\nauthorization: Bearer {key}\r\n"
            await connection.send(f"{head}content-length: 0\r\n\r\n".encode())
            async with asyncio.timeout(10):
                while not await running():  # noqa: ASYNC110 (nobody tells us)
                    await asyncio.sleep(0.01)
            connection.reset()
            await asyncio.sleep(2)
            # Between two queries of a dashboard none runs.
            return [await asyncio.sleep(0.05, await running()) for _ in range(20)]

        assert not any(client.run(leave()))


async def ask(settings: ClickHouseSettings, sql: str, limits: Limits) -> None:
    store = ClickHouse(settings)
    try:
        await QueryExecutor(store, limits, ProjectFacts(store, 60)).rows(sql, {})
    finally:
        await store.close()


LIMITS = Limits(execution_s=20, memory_bytes=2**30, rows=10**15, concurrency=1, queue=1)


async def test_too_much_memory(clickhouse: ClickHouseSettings) -> None:
    with pytest.raises(LimitExceededError):
        await ask(clickhouse, "SELECT groupArray(number) FROM numbers(10000000)", replace(LIMITS, memory_bytes=2**20))


async def test_too_many_rows(clickhouse: ClickHouseSettings) -> None:
    with pytest.raises(LimitExceededError):
        await ask(clickhouse, "SELECT count() FROM numbers(1001)", replace(LIMITS, rows=1000))


async def test_too_long(clickhouse: ClickHouseSettings) -> None:
    endless = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"
    with pytest.raises(LimitExceededError):
        await ask(clickhouse, endless, replace(LIMITS, execution_s=0.1))


async def test_what_needs_more_than_the_small_share_runs_again_with_the_large_one(
    clickhouse: ClickHouseSettings,
) -> None:
    """Three at once, each of which needs most of the large share: all are answered, one after the other."""
    limits = replace(LIMITS, concurrency=4, memory_bytes=200 * 2**20, small_memory_bytes=8 * 2**20)
    store = ClickHouse(clickhouse)
    turns = StoreTurns(QueryExecutor(store, limits, ProjectFacts(store, 60)), limits)
    heavy = "SELECT length(groupArray(number)) FROM numbers(8000000)"
    before = RUN_AGAIN._value.get()
    try:
        answers = await asyncio.gather(*[turns.run("p", lambda executor: executor.rows(heavy, {})) for _ in range(3)])
    finally:
        await store.close()
    assert [rows[0][0] for rows in answers] == [8_000_000] * 3
    assert RUN_AGAIN._value.get() == before + 2


async def test_too_large_a_result(clickhouse: ClickHouseSettings) -> None:
    with pytest.raises(LimitExceededError):
        await ask(clickhouse, "SELECT repeat(toString(number % 10), 1000000) FROM numbers(40)", LIMITS)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE events",
        "TRUNCATE TABLE events",
        "INSERT INTO events (project_id) VALUES ('x')",
        "ALTER TABLE events DELETE WHERE 1",
        "CREATE TABLE other (a UInt8) ENGINE = Memory",
    ],
)
async def test_questions_only_read(clickhouse: ClickHouseSettings, statement: str) -> None:
    with pytest.raises(StoreError, match="readonly"):
        await ask(clickhouse, statement, LIMITS)
