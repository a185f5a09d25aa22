"""Tasks at once: their results, or the error of the first that fails, when nothing of it runs any more."""

import asyncio

import pytest

from services.runtime.at_once import at_once


async def test_tasks_run_beside_each_other() -> None:
    is_begun = asyncio.Event()

    async def waits() -> str:
        await is_begun.wait()
        return "waited"

    async def begins() -> str:
        is_begun.set()
        return "begun"

    async with at_once() as tasks:
        found = [tasks.create_task(waits()), tasks.create_task(begins())]
    assert [one.result() for one in found] == ["waited", "begun"]


async def test_the_error_is_raised_as_it_is_and_the_others_are_stopped() -> None:
    stopped = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(1)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("a") from ValueError("why")

    async def all_at_once() -> None:
        async with at_once() as tasks:
            for work in (waits(), waits(), fails()):
                tasks.create_task(work)

    with pytest.raises(KeyError) as raised:
        await all_at_once()
    assert isinstance(raised.value.__cause__, ValueError)
    assert stopped == [1, 1]
