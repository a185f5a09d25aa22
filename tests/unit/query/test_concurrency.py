"""The queue of each project: who runs, who waits, who is sent away."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.query.execution.concurrency import ProjectQueues
from services.query.execution.limits import Limits


def queues(concurrency: int = 2, queue: int = 1, execution_s: float = 20) -> ProjectQueues:
    return ProjectQueues(Limits(execution_s, 2**30, 10**9, concurrency, queue))


async def test_so_many_run_so_many_wait_and_the_next_is_refused() -> None:
    queue = queues()
    released = asyncio.Event()
    full = asyncio.Event()
    running: list[int] = []

    async def ask(number: int) -> None:
        async with queue.turn("p"):
            running.append(number)
            if len(running) == 2:
                full.set()
            await released.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(ask(number))
        await full.wait()
        with pytest.raises(ApiError) as caught:
            async with queue.turn("p"):
                pass
        assert caught.value.code is ErrorCode.RATE_LIMITED
        assert caught.value.retry_after_s == 5
        async with queue.turn("another project"):
            assert running == [0, 1]
        released.set()
    assert running == [0, 1, 2]
    async with AsyncExitStack() as turns:  # all places are free again
        for _ in range(2):
            await turns.enter_async_context(queue.turn("p"))


async def test_who_waits_too_long_is_refused() -> None:
    queue = queues(concurrency=1, execution_s=0.01)
    async with queue.turn("p"):
        with pytest.raises(ApiError) as caught:
            async with queue.turn("p"):
                pass
    assert caught.value.code is ErrorCode.RATE_LIMITED
    async with queue.turn("p"):
        pass


async def test_a_question_that_fails_gives_its_place_back() -> None:
    queue = queues(concurrency=1, queue=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with queue.turn("p"):
                raise ZeroDivisionError


async def test_a_question_that_is_cancelled_while_it_waits_leaves_the_queue() -> None:
    queue = queues(concurrency=1, queue=1)

    async def ask() -> None:
        async with queue.turn("p"):
            pass

    async with queue.turn("p"):
        waiting = asyncio.create_task(ask())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        waiting = asyncio.create_task(ask())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_of_all_projects_so_many_run_in_the_order_in_which_they_asked() -> None:
    queue = ProjectQueues(Limits(20, 2**30, 10**9, 2, 8, concurrency_in_all=3))
    running: list[str] = []
    most = 0

    async def ask(project: str) -> None:
        nonlocal most
        async with queue.turn(project):
            running.append(project)
            most = max(most, len(running))
            await asyncio.sleep(0.01)
            running.remove(project)

    await asyncio.gather(*[ask(project) for project in "aaaaaabbbbbbcd"])
    assert most == 3


async def test_a_turn_that_does_not_come_for_others_is_no_fault_of_the_project() -> None:
    queue = ProjectQueues(Limits(0.02, 2**30, 10**9, 2, 8, concurrency_in_all=1))
    async with queue.turn("a"):
        with pytest.raises(ApiError) as caught:
            async with queue.turn("b"):
                pass
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert caught.value.retry_after_s
    async with queue.turn("b"):
        pass
