"""Answers that nobody reads are bounded, for a project and in all; what is read comes whole."""

import asyncio
from typing import Any

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.query.http.answers import Answers
from services.runtime.byte_budget import ByteBudget

LARGE = {"text": "x" * 400_000}


class Client:
    """Takes so many parts of an answer, then no more."""

    def __init__(self, parts: int = 10**9) -> None:
        self.parts = parts
        self.body = b""
        self.more = asyncio.Event()

    async def send(self, message: Any) -> None:
        if self.parts <= 0:
            await self.more.wait()
        self.parts -= 1
        self.body += message.get("body", b"")


async def receive() -> Any:
    raise AssertionError


async def test_an_answer_comes_whole_and_is_free_then() -> None:
    budget = ByteBudget(1_000_000)
    for content in ({"a": 1}, LARGE):
        client = Client()
        await Answers(budget).json("shop", content)({"type": "http"}, receive, client.send)
        assert len(client.body) == (7 if content is not LARGE else 400_011)
        assert budget.held_bytes == 0


async def test_unread_answers_are_bounded_for_a_project_and_in_all() -> None:
    budget = ByteBudget(1_000_000)
    answers = Answers(budget)
    clients = [Client(parts=2), Client(parts=2)]
    sending = [
        asyncio.create_task(answers.json(project, LARGE)({"type": "http"}, receive, client.send))
        for project, client in zip("ab", clients, strict=True)
    ]
    await asyncio.sleep(0)
    for project, code in (("a", ErrorCode.RATE_LIMITED), ("c", ErrorCode.STORE_UNAVAILABLE)):
        with pytest.raises(ApiError) as refused:
            answers.json(project, LARGE)
        assert refused.value.code is code
        assert refused.value.retry_after_s
        answers.json(project, {"small": 1})
    for client in clients:
        client.more.set()
    await asyncio.gather(*sending)
    assert budget.held_bytes == 0
    answers.json("a", LARGE)


async def test_a_client_that_leaves_holds_nothing() -> None:
    budget = ByteBudget(1_000_000)
    client = Client(parts=1)
    sending = asyncio.create_task(Answers(budget).json("a", LARGE)({"type": "http"}, receive, client.send))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert budget.held_bytes == 0


def test_what_is_gathered_is_free_in_the_end() -> None:
    budget = ByteBudget(1000)
    with Answers(budget).gathering("a") as add:
        add(200)
        add(300)
        assert budget.held_bytes == 500
        with pytest.raises(ApiError):
            add(1)
    assert budget.held_bytes == 0
