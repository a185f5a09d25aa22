"""The gate that a flood of bad lines closes, and dead letters that are written before anything goes on."""

import asyncio
from datetime import UTC, datetime

import pytest

from services.contract.log.dead_letter import DeadLetter, Origin, decode_dead_letter
from services.worker.dead_letters import DeadLetterTopic, PoisonFloodError, PoisonGate


def test_a_small_part_of_bad_lines_passes_for_ever() -> None:
    gate = PoisonGate(0.1)
    for _ in range(1000):
        gate.count(95, 5)


def test_a_flood_stops_it_and_says_what_to_do() -> None:
    gate = PoisonGate(0.1)
    gate.count(10_000, 0)
    with pytest.raises(PoisonFloodError, match=r"200 of the last 1200 lines .*HEADRACE_WORKER_DEAD_LETTER_MAX_RATIO"):
        gate.count(0, 200)


def test_at_the_start_a_tenth_of_a_thousand_is_let_through() -> None:
    gate = PoisonGate(0.1)
    gate.count(0, 100)
    with pytest.raises(PoisonFloodError):
        gate.count(0, 1)


def test_it_stays_closed_while_the_flood_goes_on() -> None:
    gate = PoisonGate(0.1)
    for _ in range(3):
        with pytest.raises(PoisonFloodError):
            gate.count(0, 101)


def test_old_lines_are_forgotten() -> None:
    gate = PoisonGate(0.1)
    gate.count(900, 100)
    with pytest.raises(PoisonFloodError):
        gate.count(0, 50)
    healed = PoisonGate(0.1)
    healed.count(900, 100)
    healed.count(5000, 0)
    healed.count(0, 50)


def test_many_good_lines_do_not_buy_a_flood() -> None:
    gate = PoisonGate(0.1)
    for _ in range(100):
        gate.count(100_000, 0)
    with pytest.raises(PoisonFloodError):
        gate.count(0, 150)


def test_a_ratio_of_one_lets_everything_pass() -> None:
    gate = PoisonGate(1.0)
    for _ in range(100):
        gate.count(0, 1000)


def letter(n: int) -> DeadLetter:
    return DeadLetter(
        code="unreadable_line",
        message="m",
        origin=Origin(service="worker", topic="t", partition=1, offset=2, line=n),
        payload="é\0\ufffd",
        at=datetime(2026, 11, 20, tzinfo=UTC),
    )


async def test_letters_are_written_and_acknowledged_in_order() -> None:
    written: list[bytes] = []
    acks: list[asyncio.Future[object]] = []

    async def send(value: bytes) -> "asyncio.Future[object]":
        written.append(value)
        acks.append(asyncio.get_running_loop().create_future())
        return acks[-1]

    letters = [letter(0), letter(1)]
    put = asyncio.create_task(DeadLetterTopic(send).put(letters))
    for _ in range(10):
        await asyncio.sleep(0)
    assert [decode_dead_letter(value) for value in written] == letters
    acks[0].set_result(None)
    await asyncio.sleep(0)
    assert not put.done()
    acks[1].set_result(None)
    await put


async def test_a_letter_that_is_not_acknowledged_is_an_error() -> None:
    async def send(value: bytes) -> "asyncio.Future[object]":
        refused: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        refused.set_exception(OSError("gone"))
        return refused

    with pytest.raises(OSError, match="gone"):
        await DeadLetterTopic(send).put([letter(0)])
