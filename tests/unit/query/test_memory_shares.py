"""The memory of queries: one large share is lent, all others have a small one, and the sum is bounded."""

import asyncio

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.query.execution.concurrency import ProjectQueues
from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.memory_shares import MemoryShares
from services.query.execution.project_facts import ProjectFacts
from services.runtime.clickhouse import ClickHouse, LimitExceededError
from services.runtime.settings import ClickHouseSettings, QuerySettings

LIMITS = Limits(20, 2**30, 10**9, 4, 32, 8, 2**20, 1)


class Running:
    """Queries that run until they are told to end; the bytes that each was given."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        store = ClickHouse(ClickHouseSettings())
        executor = QueryExecutor(store, limits, ProjectFacts(store, 60))
        self.shares = MemoryShares(executor, limits, ProjectQueues(limits).too_many)
        self.now: dict[str, list[int]] = {}
        self.most = 0
        self.ended = asyncio.Event()

    async def light(self, project: str, executor: QueryExecutor) -> str:
        return await self._use(project, executor)

    async def heavy(self, project: str, executor: QueryExecutor) -> str:
        if executor.memory_bytes < 2**29:
            raise LimitExceededError("too little", 241)
        return await self._use(project, executor)

    async def _use(self, project: str, executor: QueryExecutor) -> str:
        self.now.setdefault(project, []).append(executor.memory_bytes)
        self.most = max(self.most, sum(sum(of) for of in self.now.values()))
        await self.ended.wait()
        self.now[project].remove(executor.memory_bytes)
        return "done"

    def start(self, project: str, kind: str) -> asyncio.Task[str]:
        work = self.light if kind == "light" else self.heavy
        return asyncio.create_task(self.shares.run(project, lambda executor: work(project, executor)))


async def passes(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_alone_has_the_large_share_and_the_others_a_small_one() -> None:
    running = Running()
    tasks = [running.start(project, "light") for project in ("a", "a", "b")]
    await passes()
    assert running.now == {"a": [2**30, 2**20], "b": [2**20]}
    running.ended.set()
    assert await asyncio.gather(*tasks) == ["done"] * 3
    running.ended.clear()
    again = running.start("b", "light")
    await passes()
    assert running.now["b"] == [2**30]
    running.ended.set()
    await again


@pytest.mark.parametrize("projects", ["aaaa", "abcd", "aabb"])
async def test_heavy_ones_run_one_after_the_other(projects: str) -> None:
    running = Running()
    tasks = [running.start(project, "heavy") for project in projects]
    running.ended.set()
    assert await asyncio.gather(*tasks) == ["done"] * 4
    assert running.most == 2**30


async def test_with_more_large_shares_a_project_still_has_one() -> None:
    running = Running(Limits(20, 2**30, 10**9, 4, 32, 8, 2**20, 2))
    tasks = [running.start(project, "heavy") for project in ("a", "a", "b", "c")]
    await passes()
    assert running.now == {"a": [2**30], "b": [2**30]}
    running.ended.set()
    assert await asyncio.gather(*tasks) == ["done"] * 4
    assert running.most == 2 * 2**30


@pytest.mark.parametrize("of_one", [2, 3, 31])
async def test_a_project_with_many_does_not_go_before_the_others(of_one: int) -> None:
    """However many of one project wait already: each of the others waits for one of it, and for one of each other."""
    running = Running()
    done: list[str] = []
    tasks = []
    for project in ["a"] * (of_one + 1) + ["b", "c", "b"]:
        task = running.start(project, "heavy")
        task.set_name(project)
        task.add_done_callback(lambda ended: done.append(ended.get_name()))
        tasks.append(task)
        await passes()
    running.ended.set()
    await asyncio.gather(*tasks)
    assert done == [*"abcab", *"a" * (of_one - 1)]
    assert running.most == 2**30


async def test_whoever_has_given_up_is_passed_over() -> None:
    running = Running()
    first = running.start("a", "heavy")
    await passes()
    waiting = [running.start(project, "heavy") for project in "bbcb"]
    await passes()
    for task in waiting[:2]:
        task.cancel()
    running.ended.set()
    assert await asyncio.gather(first, *waiting[2:]) == ["done"] * 3
    assert all(task.cancelled() for task in waiting[:2])
    assert running.shares._waiting == {}


async def test_who_gets_no_large_share_in_time_is_told_so() -> None:
    running = Running(Limits(0.05, 2**30, 10**9, 4, 32, 8, 2**20, 1))
    first, second = running.start("a", "heavy"), running.start("a", "heavy")
    with pytest.raises(ApiError) as refused:
        await second
    assert refused.value.code is ErrorCode.RATE_LIMITED
    running.ended.set()
    assert await first == "done"
    assert await running.start("b", "heavy") == "done"


@pytest.mark.parametrize("when", ["waiting", "lent"])
async def test_whoever_is_cancelled_gives_the_share_back(when: str) -> None:
    running = Running()
    first, second = running.start("a", "heavy"), running.start("b", "heavy")
    await passes()
    if when == "waiting":
        second.cancel()
    running.ended.set()
    await first
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert await asyncio.wait_for(running.start("c", "heavy"), 5) == "done"


@pytest.mark.parametrize("error", [LimitExceededError("too slow", 159), LimitExceededError("no answer"), ValueError()])
async def test_what_more_memory_would_not_mend_is_not_tried_again(error: Exception) -> None:
    running, tried = Running(), 0
    holding = running.start("a", "light")
    await passes()

    async def fail(executor: QueryExecutor) -> None:
        nonlocal tried
        tried += 1
        raise error

    with pytest.raises(type(error)):
        await running.shares.run("b", fail)
    assert tried == 1
    running.ended.set()
    await holding


@pytest.mark.parametrize("running", [1, 4, 8, 64])
@pytest.mark.parametrize("of_one_mib", [64, 512, 2048, 8192])
@pytest.mark.parametrize("times", [0, 2, 3, 10])
def test_all_shares_together_are_within_the_bound(running: int, of_one_mib: int, times: int) -> None:
    large = of_one_mib * 2**20
    in_all = large * times
    if in_all and in_all < large + running * 8 * 2**20:
        with pytest.raises(ValueError, match=r"query_max_memory_in_all_bytes\n.*must be at least"):
            QuerySettings(query_concurrency=running, query_max_memory_bytes=large, query_max_memory_in_all_bytes=in_all)
        return
    limits = Limits.of(
        QuerySettings(query_concurrency=running, query_max_memory_bytes=large, query_max_memory_in_all_bytes=in_all)
    )
    most = limits.large_shares * limits.memory_bytes + limits.concurrency_in_all * limits.small_memory_bytes
    assert most <= (in_all or 2 * large)
    assert limits.memory_bytes == large
