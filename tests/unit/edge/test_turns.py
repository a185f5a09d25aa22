"""Bodies that take long have turns: one at a time, project after project, and the loop is others' in between."""

import asyncio
import time

import pytest

from services.edge.http.turns import Turns


async def work(turns: Turns, project: str, said: list[str], takes_s: float = 0.0) -> None:
    await turns.take(project)
    said.append(project)
    if takes_s:
        time.sleep(takes_s)  # noqa: ASYNC251 (as work on the loop does)
    turns.give_back()


async def test_the_first_turn_needs_no_waiting() -> None:
    said: list[str] = []
    taking = work(Turns(), "a", said)
    with pytest.raises(StopIteration):
        taking.send(None)
    assert said == ["a"]


async def test_projects_take_turns_and_each_keeps_its_order() -> None:
    turns = Turns()
    said: list[str] = []
    names = ["a1", "a2", "a3", "b1", "b2", "c1"]

    async def one(name: str) -> None:
        await turns.take(name[0])
        said.append(name)
        turns.give_back()

    await asyncio.gather(*map(one, names))
    assert said == ["a1", "a2", "b1", "c1", "a3", "b2"]


async def test_one_turn_a_pass_of_the_loop() -> None:
    turns = Turns()
    said: list[str] = []
    tasks = [asyncio.create_task(work(turns, "a", said)) for _ in range(50)]
    before = 0
    while len(said) < 50:
        await asyncio.sleep(0)
        assert len(said) <= before + 1
        before = len(said)
    await asyncio.gather(*tasks)


async def test_after_long_work_the_loop_rests() -> None:
    turns = Turns()
    said: list[str] = []
    tasks = [asyncio.create_task(work(turns, "a", said, 0.05)) for _ in range(3)]
    passes = 0
    while len(said) < 3:
        await asyncio.sleep(0)
        passes += 1
    assert passes > 100
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("when", ["waiting", "given"])
async def test_whoever_gives_up_holds_nobody_up(when: str) -> None:
    turns = Turns()
    said: list[str] = []
    await turns.take("a")
    leaving = asyncio.create_task(work(turns, "b", said))
    staying = asyncio.create_task(work(turns, "c", said))
    await asyncio.sleep(0)
    if when == "waiting":
        leaving.cancel()
    turns.give_back()
    if when == "given":
        while turns._waiting.keys() != {"c"}:  # noqa: ASYNC110 (nobody tells us)
            await asyncio.sleep(0)
        leaving.cancel()
    await asyncio.wait_for(staying, 5)
    assert said == ["c"]
    await asyncio.wait_for(work(turns, "d", said), 5)
