"""The gateway passes requests and answers on unchanged, whatever happens to either side."""

import asyncio
import gzip
import http.client
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.devstack.child_process import free_port
from services.devstack.gateway import Gateway, create_app

PIECE = b"x" * 65536


class GiveBack:
    """Answers each piece of the body before it takes the next. (Starlette's StreamingResponse would read along.)"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


class StandIn:
    """A service that says what it was asked, and counts what it read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bytes_read = 0
        self.left = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/v1/analytics/query/stream", GiveBack()),
                Route("/v1/analytics/events/live", self.live),
                Route("/v1/analytics/too-large", self.too_large, methods=["POST"]),
                Route("/v1/analytics/drain", self.drain, methods=["POST"]),
            ]
        )
        self.app.router.default = request_response(self.echo)

    async def echo(self, request: Request) -> Response:
        said = {
            "name": self.name,
            "method": request.method,
            "target": request.scope["raw_path"].decode() + "?" + request.scope["query_string"].decode(),
            "headers": [[k.decode(), v.decode()] for k, v in request.scope["headers"]],
            "body": (await request.body()).hex(),
        }
        answer = JSONResponse(said, 207, headers={"x-a": "1"})
        answer.headers.append("set-cookie", "a=1")
        answer.headers.append("set-cookie", "b=2")
        return answer

    async def live(self, request: Request) -> Response:
        """Says one thing, and then nothing for an hour."""

        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield b": live\n\n"
                await asyncio.sleep(3600)
            finally:
                self.left.set()

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def too_large(self, request: Request) -> Response:
        return JSONResponse({"error": {"code": "body_too_large"}}, 413)

    async def drain(self, request: Request) -> Response:
        try:
            async for piece in request.stream():
                self.bytes_read += len(piece)
        except ClientDisconnect:
            self.left.set()
        return JSONResponse({"bytes": self.bytes_read})


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 (polls what gives no event)
        await asyncio.sleep(0.005)


@asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", http="httptools", ws="none"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


class Stack:
    def __init__(self, edge: StandIn, query: StandIn, url: str, client: httpx.AsyncClient) -> None:
        self.edge = edge
        self.query = query
        self.url = url
        self.client = client

    async def said(self, method: str, target: str, **options: Any) -> dict[str, Any]:
        answer = await self.client.request(method, target, **options)
        assert answer.status_code == 207
        said: dict[str, Any] = answer.json()
        return said


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    edge, query, console = StandIn("edge"), StandIn("query"), StandIn("console")
    async with (
        served(edge.app) as edge_url,
        served(query.app) as query_url,
        served(console.app) as console_url,
        served(create_app(Gateway(edge_url, query_url, console_url))) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        yield Stack(edge, query, url, client)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/analytics/track", "edge"),
        ("OPTIONS", "/v1/analytics/batch", "edge"),
        ("GET", "/openapi.json", "edge"),
        ("GET", "/docs", "edge"),
        ("GET", "/docs/swagger-ui.js", "edge"),
        ("GET", "/v1/analytics/queryable", "edge"),
        ("POST", "/v1/analytics/query/events", "query"),
        ("DELETE", "/v1/analytics/dashboard/delete/d", "query"),
        ("DELETE", "/v1/analytics/dashboard/delete/two%0Alines", "query"),
        ("GET", "/v1/analytics/persons/p", "query"),
        ("POST", "/v1/analytics/privacy/forget", "query"),
        ("GET", "/", "console"),
        ("POST", "/console/sign-in", "console"),
    ],
)
async def test_paths_lead_to_their_service(stack: Stack, method: str, path: str, name: str) -> None:
    said = await stack.said(method, path)
    assert (said["name"], said["method"], said["target"]) == (name, method, path + "?")


async def test_requests_and_answers_are_unchanged(stack: Stack) -> None:
    body = gzip.compress(bytes(range(256)))
    headers = [
        ("content-encoding", "gzip"),
        ("authorization", "Bearer k"),
        ("x-two", "1"),
        ("x-two", "2"),
        ("x-l", "ü"),
    ]
    raw_headers = [(k.encode(), v.encode()) for k, v in headers]
    target = "/v1/analytics/dashboard/get/a%2Fb%20c?cursor=%3D%26&limit=1"
    answer = await stack.client.post(target, content=body, headers=raw_headers)
    said = answer.json()
    assert (said["target"], said["body"]) == (target, body.hex())
    assert [h for h in said["headers"] if h[0].startswith(("x-", "content-e", "auth"))] == [list(h) for h in headers]
    assert dict(said["headers"])["content-length"] == str(len(body))
    assert dict(said["headers"])["host"] == stack.url.removeprefix("http://")
    assert answer.headers["x-a"] == "1"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_nothing_is_added_to_a_bare_request(stack: Stack) -> None:
    connection = http.client.HTTPConnection(stack.url.removeprefix("http://"))

    def ask() -> Any:
        connection.putrequest("GET", "/v1/analytics/x", skip_accept_encoding=True)
        connection.endheaders()
        return json.loads(connection.getresponse().read())

    said = await asyncio.to_thread(ask)
    connection.close()
    assert [name for name, _ in said["headers"]] == ["host"]


async def test_bodies_stream_both_ways(stack: Stack) -> None:
    seen: asyncio.Queue[None] = asyncio.Queue()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield PIECE
            await seen.get()  # the next piece is sent only when this one has come back

    got = 0
    # httpx would read nothing before the whole body is sent.
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(stack.url) as session,
        session.post("/v1/analytics/query/stream", data=pieces()) as answer,
    ):
        async for piece in answer.content.iter_any():
            got += len(piece)
            if got % len(PIECE) == 0:
                seen.put_nowait(None)
    assert got == 3 * len(PIECE)


async def test_an_answer_may_come_before_the_end_of_the_body(stack: Stack) -> None:
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/analytics/too-large HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + PIECE)
    async with asyncio.timeout(10):
        assert await reader.readline() == b"HTTP/1.1 413 Request Entity Too Large\r\n"
        await reader.readuntil(b'{"error":{"code":"body_too_large"}}')
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_leaves_is_gone_for_the_service_too(stack: Stack) -> None:
    host, port = stack.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/analytics/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + PIECE)
    await writer.drain()
    async with asyncio.timeout(10):
        await until(lambda: stack.edge.bytes_read >= len(PIECE))
        writer.close()
        await writer.wait_closed()
        await stack.edge.left.wait()


async def test_a_stream_whose_client_leaves_ends(stack: Stack) -> None:
    async with asyncio.timeout(10):
        async with stack.client.stream("GET", "/v1/analytics/events/live") as answer:
            assert await anext(answer.aiter_bytes()) == b": live\n\n"
        await stack.query.left.wait()


async def test_a_service_that_is_down() -> None:
    query = StandIn("query")
    async with served(query.app) as query_url, httpx.AsyncClient() as client:
        gateway = Gateway(f"http://127.0.0.1:{free_port()}", query_url, query_url)
        async with served(create_app(gateway)) as url:
            answer = await client.post(f"{url}/v1/analytics/track", content=b"{}")
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
            assert answer.json()["error"]["code"] == "log_unavailable"
            assert answer.json()["request_id"]
            assert (await client.get(f"{url}/v1/analytics/query/x")).status_code == 207
            # Mixpanel's SDK sends with credentials, and drops what it cannot read the answer to.
            answer = await client.post(f"{url}/track/", content=b"", headers={"origin": "https://shop.example"})
            assert answer.status_code == 503
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
            assert answer.headers["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize(
    "target",
    [
        "/elsewhere",
        "/metrics",
        "/health/live",
        "/health/ready",
        "/lag",
        "/metrics/",
        "//metrics",
        "/%6detrics",
        "/v1/../metrics",
        "/v1/analytics",
        "/openapi.json/../metrics",
    ],
)
async def test_what_is_for_operators_stays_inside(stack: Stack, target: str) -> None:
    """Targets as they are: the client of the other tests would make them tidy first."""
    status, body = await asyncio.to_thread(_get, stack.url, target)
    assert (status, json.loads(body)["error"]["code"]) == (404, "not_found")


def _get(url: str, target: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "target", ["/docs/../metrics", "/v1/analytics/../../metrics", "/docs/%2e%2e/metrics", "/docs%2f..%2fmetrics"]
)
async def test_a_target_is_passed_on_as_it_is(stack: Stack, target: str) -> None:
    """It stays under an address that is served, where the service has no such page."""
    _, body = await asyncio.to_thread(_get, stack.url, target)
    assert json.loads(body)["target"] == f"{target}?"


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_what_a_client_sends_and_closes_at_once_arrives_whole(stack: Stack, size: int, chunked: bool) -> None:
    host, port = stack.url.removeprefix("http://").split(":")
    body, length = b"x" * size, b"content-length: %d" % size
    if chunked:
        body, length = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body), b"transfer-encoding: chunked"
    request = b"POST /v1/analytics/drain HTTP/1.1\r\nhost: gateway\r\n%b\r\n\r\n%b" % (length, body)

    async def send() -> None:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*[send() for _ in range(20)])
    async with asyncio.timeout(20):
        await until(lambda: stack.edge.bytes_read == 20 * size)
