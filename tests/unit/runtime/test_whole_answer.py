"""An answer in one write is the same bytes as uvicorn's own."""

from collections.abc import Callable

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.http import json_response
from services.runtime.whole_answer import send_whole
from tests.fakes.transport import MemoryConnection

HEAD, BODY = b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n", b"\r\nhi"


def answering(response: Response, *, whole: bool, sent: list[bool] | None = None) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        was_sent = whole and send_whole(send, response)
        if sent is not None:
            sent.append(was_sent)
        if not was_sent:
            await response(scope, receive, send)

    return app


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + BODY,
        HEAD + BODY + HEAD + BODY,
        HEAD + b"connection: close\r\n" + BODY,
        HEAD + b"expect: 100-continue\r\n" + BODY,
        HEAD.replace(b"1.1", b"1.0") + BODY,
        HEAD.replace(b"1.1", b"1.0") + b"connection: keep-alive\r\n" + BODY,
        HEAD.replace(b"POST", b"HEAD") + BODY,
        HEAD + BODY + b"nonsense\r\n\r\n",
    ],
    ids=["one", "pipelined", "close", "expect", "1.0", "1.0 keep-alive", "HEAD", "nonsense behind"],
)
@pytest.mark.parametrize(
    "response",
    [
        json_response({"ok": True}),
        json_response({"ok": False}, 503, {"retry-after": "2", "x-request-id": "1"}),
        Response(status_code=204),
        Response(b""),
        Response(b"x" * 100_000),
    ],
    ids=["200", "503", "204", "empty", "large"],
)
async def test_the_bytes_are_those_of_uvicorn(response: Response, request_bytes: bytes) -> None:
    answers = []
    for whole in (False, True):
        connection = MemoryConnection(answering(response, whole=whole))
        answer = await connection.exchange(request_bytes)
        # The one thing that differs in an answer to nonsense.
        answers.append(
            (answer.partition(b'"request_id"')[0].partition(b"x-request-id: ")[0], connection.transport.closed)
        )
    assert answers[0] == answers[1]
    assert answers[0][0].startswith(b"HTTP/1.1 ")


async def test_it_is_one_write() -> None:
    writes: list[bytes] = []
    sent: list[bool] = []
    connection = MemoryConnection(answering(json_response({"ok": True}), whole=True, sent=sent))
    connection.transport.write = writes.append  # type: ignore[method-assign, assignment]
    await connection.send(HEAD + BODY)
    await connection.answers()
    await connection.send(HEAD + BODY)
    await connection.answers()
    assert sent == [True, True]
    assert [write.endswith(b'\r\n\r\n{"ok":true}') for write in writes] == [True, True]


async def test_a_slow_reader_is_waited_for() -> None:
    sent: list[bool] = []
    connection = MemoryConnection(answering(Response(b"x" * 100_000), whole=True, sent=sent))
    connection.transport.reads = False
    await connection.send(HEAD + BODY + HEAD + BODY)
    assert (await connection.answers()).count(b"HTTP/1.1 200 OK") == 1
    connection.transport.take(100_000)
    assert (await connection.answers()).count(b"HTTP/1.1 200 OK") == 2
    assert sent == [True, False]


def _seen(app: ASGIApp) -> ASGIApp:
    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def look(message: Message) -> None:
            await send(message)

        await app(scope, receive, look)

    return outer


@pytest.mark.parametrize(
    ("make", "around"),
    [
        (lambda: Response(b"x"), _seen),
        (lambda: Response(b"x", background=BackgroundTask(print, end="")), lambda app: app),
        (lambda: StreamingResponse(iter([b"x"])), lambda app: app),
    ],
    ids=["somebody looks", "work behind it", "in parts"],
)
async def test_what_is_not_whole_goes_the_usual_way(
    make: Callable[[], Response], around: Callable[[ASGIApp], ASGIApp]
) -> None:
    sent: list[bool] = []
    connection = MemoryConnection(around(answering(make(), whole=True, sent=sent)))
    assert (await connection.exchange(HEAD + BODY)).startswith(b"HTTP/1.1 200 OK")
    assert sent == [False]
