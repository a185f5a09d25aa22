"""Work for an answer that somebody waits for: it ends when its client has left.

What only reads is worth nothing then, and others of its project wait for its place. What writes goes on to its end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

_LOOK_EVERY_S = 0.5
# A client that sends nothing more has left, or waits for its answer: a connection says the same of both. Those who wait
# have theirs within this time, as a rule.
LEFT_S = 3.0


def while_waited_for(call: Handler) -> Handler:
    """The same call, which must only read, given up where its client leaves."""

    @wraps(call)
    async def answer(request: Request) -> Response:
        return await result_while_waited_for(request, call(request))

    return answer


async def result_while_waited_for(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives, and raises; ClientDisconnect where the client leaves before. Where no connection can be looked at,
    it goes on to its end."""
    cycle = getattr(request.receive, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle):
        return await work
    working = asyncio.ensure_future(work)
    left_s = 0.0
    try:
        while True:
            await asyncio.wait([working], timeout=_LOOK_EVERY_S)
            if working.done():
                return working.result()
            left_s = left_s + _LOOK_EVERY_S if _sends_no_more(cycle) else 0.0
            if cycle.disconnected or left_s > LEFT_S:
                raise ClientDisconnect
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait([working])


def _sends_no_more(cycle: RequestResponseCycle) -> bool:
    return bool(getattr(cycle.transport.get_protocol(), "client_left", False))
