"""A task that dies ends its process with the reason; liveness says so meanwhile."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from services.runtime import background
from services.runtime.http import operation_routes


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have ended the process."""
    found: list[str] = []
    monkeypatch.setattr(background, "_dead", [])
    monkeypatch.setattr(background, "_end_process", lambda: found.append("SIGTERM"))
    return found


async def test_a_task_that_dies_ends_the_process_with_the_reason(ended: list[str]) -> None:
    async def work() -> None:
        raise ValueError("a bug")

    with capture_logs() as said:
        await asyncio.gather(background.in_background("keys", work()), return_exceptions=True)
        await asyncio.sleep(0)
    assert ended == ["SIGTERM"]
    assert [(line["event"], line["task"], line["reason"]) for line in said] == [
        ("service_stops", "keys", "ValueError('a bug')")
    ]
    assert await liveness() == (503, "ended: keys\n")


async def test_a_task_that_ends_or_is_cancelled_ends_nothing(ended: list[str]) -> None:
    async def work() -> None: ...

    await background.in_background("done", work())
    waiting = background.in_background("cancelled", asyncio.sleep(60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0)
    assert (ended, await liveness()) == ([], (200, "ok\n"))


async def liveness() -> tuple[int, str]:
    async def ready() -> dict[str, bool]:
        return {}

    transport = httpx.ASGITransport(Starlette(routes=operation_routes(ready)))
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        answer = await client.get("/health/live")
    return answer.status_code, answer.text
