"""One address for all: passes each request on to the edge, the query service or the console, by its path.

Bodies and answers stream through; nothing is retried and nothing is kept. Health and metrics of the services stay inside.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import aiohttp
from multidict import CIMultiDict
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from yarl import URL

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.root_paths import CONSOLE_PATH, is_console_path
from services.contract.api.sdk import sdk_path
from services.runtime.connections import Connections
from services.runtime.http import error_response, exact_addresses, exception_handlers, headers_for_pages, serve
from services.runtime.logs import get_logger
from services.runtime.operator_errors import errors_for_operators
from services.runtime.settings import HttpSettings, LogSettings
from services.runtime.start import start_service
from services.runtime.waited_for import result_while_waited_for

log = get_logger(__name__)

_API = f"{BASE_PATH}/"
_QUERY_PARTS = ("query", "dashboard", "persons", "privacy", "events", "groups", "cohorts")
_REFERENCE = ("/openapi.json", "/docs")
# Calls that read, and are POST.
_READING = (f"{_API}query/", f"{_API}dashboard/run/", f"{CONSOLE_PATH}/dashboards/tiles")
# They are about one connection, not about the request (RFC 9110, 7.6.1).
_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
# Shorter than the services keep an idle connection, so that none is used just when it is closed.
_IDLE_S = 3.0
_CONNECT_TIMEOUT_S = 5.0
_DRAIN_TIMEOUT_S = 25
_RETRY_AFTER_S = 2
_STREAM = "text/event-stream"
# Of 64 KiB as a rule: more than a body may have. A client that has sent all and closed would wait for room in vain.
_PIECES_AHEAD = 256


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service behind the gateway, and what is said when it does not answer."""

    name: str
    url: str
    unavailable: ErrorCode


class Gateway:
    """The proxy as an ASGI application. `start` and `stop` belong to its lifespan."""

    def __init__(self, edge_url: str, query_url: str, console_url: str) -> None:
        self.edge = Upstream("edge", edge_url, ErrorCode.LOG_UNAVAILABLE)
        self.query = Upstream("query", query_url, ErrorCode.STORE_UNAVAILABLE)
        self.console = Upstream("console", console_url, ErrorCode.STORE_UNAVAILABLE)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT_S),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )

    async def stop(self) -> None:
        await self._running.close()

    @property
    def _running(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the gateway was not started")
        return self._session

    def route(self, path: str) -> Upstream | None:
        """None for an address that no service has."""
        if is_console_path(path):
            return self.console
        if path.startswith(_API) and path.removeprefix(_API).partition("/")[0] in _QUERY_PARTS:
            return self.query
        is_edge = path in _REFERENCE or path.startswith((_API, "/docs/")) or sdk_path(path) is not None
        return self.edge if is_edge else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        upstream = self.route(scope["path"])
        if upstream is None:
            missing = ApiError(ErrorCode.NOT_FOUND, "There is no such address. See /docs for the calls.")
            await error_response(request, missing, "gateway")(scope, receive, send)
            return
        try:
            asking = self._ask(upstream, request)
            answer = await (result_while_waited_for(request, asking) if _only_reads(request) else asking)
        except (aiohttp.ClientError, OSError) as error:
            log.warning("upstream_unavailable", upstream=upstream.name, reason=repr(error))
            message = f"The {upstream.name} service does not answer now. Send it again, with the same idempotency keys."
            gone = ApiError(upstream.unavailable, message, retry_after_s=_RETRY_AFTER_S)
            response = error_response(request, gone, "gateway")
            if upstream is self.edge:
                response.headers.update(headers_for_pages(request))
            await response(scope, receive, send)
            return
        except ClientDisconnect:
            await Response(status_code=400)(scope, receive, send)  # nobody is there to read it
            return
        async with answer:
            leaving = asyncio.create_task(_close_when_left(request, answer)) if answer.content_type == _STREAM else None
            await _pass_back(answer, send)
            if leaving is not None:
                leaving.cancel()

    async def _ask(self, upstream: Upstream, request: Request) -> aiohttp.ClientResponse:
        """The answer as soon as its headers are there, which may be before the request's body has gone through."""
        raw: list[tuple[bytes, bytes]] = request.scope["headers"]
        # The client library writes header values as UTF-8.
        headers = CIMultiDict((k.decode(), v.decode(errors="replace")) for k, v in raw if k not in _HOP_BY_HOP)
        has_body = any(k in (b"content-length", b"transfer-encoding") for k, _ in raw)
        path = cast(bytes, request.scope["raw_path"]).decode("latin-1")
        query = cast(bytes, request.scope["query_string"]).decode("latin-1")
        url = URL(f"{upstream.url}{path}{'?' if query else ''}{query}", encoded=True)
        incoming = _Incoming(request)
        body = await incoming.begin() if has_body else None
        try:
            return await self._running.request(request.method, url, headers=headers, data=body, allow_redirects=False)
        except BaseException:
            incoming.stop()
            raise


def _only_reads(request: Request) -> bool:
    """What a service may learn of, that its client has left before the answer; what writes goes on."""
    return request.method == "GET" or request.scope["path"].startswith(_READING)


class _Incoming:
    """A request's body, read while it comes and not when the service takes it: a client may send all and close at once."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._messages: asyncio.Queue[Message] = asyncio.Queue(_PIECES_AHEAD)
        self._reading: asyncio.Task[None] | None = None

    async def begin(self) -> bytes | AsyncIterator[bytes]:
        """The body where it is there, else its pieces. Raises ClientDisconnect."""
        first = await self._request.receive()
        if _has_more(first):
            self._reading = asyncio.create_task(self._read())
            return self._pieces(first)
        return _piece(first)

    async def _read(self) -> None:
        more = True
        while more:
            message = await self._request.receive()
            await self._messages.put(message)
            more = _has_more(message)

    async def _pieces(self, message: Message) -> AsyncIterator[bytes]:
        while _has_more(message):
            yield _piece(message)
            message = await self._messages.get()
        yield _piece(message)

    def stop(self) -> None:
        """Nobody takes the rest."""
        if self._reading is not None:
            self._reading.cancel()


def _has_more(message: Message) -> bool:
    return bool(message.get("more_body", False))


def _piece(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    return body


async def _close_when_left(request: Request, answer: aiohttp.ClientResponse) -> None:
    """A stream ends by itself after an hour: when its client leaves, the service has to learn of it."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    answer.close()


async def _pass_back(answer: aiohttp.ClientResponse, send: Send) -> None:
    headers = [(k.lower(), v) for k, v in answer.raw_headers if k.lower() not in _HOP_BY_HOP]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    try:
        async for piece in answer.content.iter_any():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except (aiohttp.ClientError, OSError) as error:
        # Too late for another status: the answer stays unfinished, and the server closes the connection.
        log.warning("answer_broken_off", reason=repr(error))
        return
    done: Message = {"type": "http.response.body", "body": b"", "more_body": False}
    await send(done)


def create_app(gateway: Gateway) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await gateway.start()
        yield
        await gateway.stop()

    handlers = exception_handlers("gateway")
    app = Starlette(exception_handlers=handlers, lifespan=lifespan)
    # Not a route: a pattern for every path does not match one with a newline.
    app.router.default = gateway
    exact_addresses(app)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--edge", required=True, help="base URL of the edge")
    parser.add_argument("--query", required=True, help="base URL of the query service")
    parser.add_argument("--console", required=True, help="base URL of the console")
    options = parser.parse_args()
    with errors_for_operators():
        start_service(LogSettings, "gateway")
        app = create_app(Gateway(options.edge, options.query, options.console))
        serve(
            app, "127.0.0.1", options.port, _DRAIN_TIMEOUT_S, "gateway", Connections(HttpSettings().connection_limits())
        )


if __name__ == "__main__":
    main()
