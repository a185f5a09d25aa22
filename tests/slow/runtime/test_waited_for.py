"""What only reads ends when nobody waits for its answer."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.runtime import waited_for
from services.runtime.http import exception_handlers
from services.runtime.waited_for import while_waited_for
from tests.fakes.transport import MemoryConnection

READ = b"POST /read HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
WRITE = READ.replace(b"read", b"write")


class Work:
    """Two calls that take long. `ends`: how those ended that were asked for."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.ends: list[str] = []
        self.client = MemoryConnection(
            Starlette(
                routes=[
                    Route("/read", while_waited_for(self.call), methods=["POST"]),
                    Route("/write", self.call, methods=["POST"]),
                ],
                exception_handlers=exception_handlers("test"),
            )
        )

    async def call(self, request: Request) -> Response:
        await request.body()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.ends.append("given up")
            raise
        self.ends.append("done")
        return Response(b"answer")

    async def ended(self, within_s: float) -> list[str]:
        async with asyncio.timeout(within_s):
            while not self.ends:  # noqa: ASYNC110 (nobody tells us)
                await asyncio.sleep(0.01)
        return self.ends


async def test_it_ends_with_the_connection() -> None:
    work = Work()
    await work.client.send(READ)
    await work.client.step()
    work.client.reset()
    assert await work.ended(2) == ["given up"]


async def test_who_has_sent_all_is_waited_with_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    await work.client.send(READ)
    await work.client.step()
    work.client.end()
    await asyncio.sleep(0.7)
    work.may_end.set()
    assert b"answer" in await work.client.answer(2)
    assert work.ends == ["done"]

    monkeypatch.setattr(waited_for, "LEFT_S", 0.1)
    work = Work()
    await work.client.send(READ)
    await work.client.step()
    work.client.end()
    assert await work.ended(3) == ["given up"]


async def test_what_writes_goes_on_and_whoever_waits_is_answered() -> None:
    gone, waiting = Work(), Work()
    await gone.client.send(WRITE)
    await gone.client.step()
    gone.client.reset()
    await waiting.client.send(READ)
    await asyncio.sleep(1.2)
    for work in (gone, waiting):
        work.may_end.set()
        assert await work.ended(2) == ["done"]
    assert b"answer" in await waiting.client.answer(2)
