"""The ASGI application: HTTP requests in, answers in ClickHouse's form out. All engine calls run in bounded threads."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

from services.devstack.clickhouse.compression import MAX_BODY_BYTES, decode
from services.devstack.clickhouse.engine import Answer, Engine, ResultStream
from services.devstack.clickhouse.errors import ClickHouseError
from services.devstack.clickhouse.reply import Reply, Send
from services.devstack.clickhouse.request import Request, add_form, read_request
from services.devstack.clickhouse.statement import Insert, Statement, parse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = dict[str, str]

# A thread only waits while the engine's own threads work: this is a number of queries, not of cores.
MAX_QUERIES = 64
# Formats whose blocks make one valid answer when they are put one after the other.
_JOINABLE = {"native", "rowbinary", "jsoneachrow", "jsoncompacteachrow", "tabseparated", "tsv", "csv"}


class ClientGoneError(Exception):
    """The connection ended before the body did: nothing of the request may be done."""


class _OpenStream(NamedTuple):
    """A SELECT that has given its first piece without an error."""

    stream: ResultStream
    first: bytes | None


class ClickHouseApp:
    """`GET|POST /`, `/ping`, `/replicas_status`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(MAX_QUERIES, thread_name_prefix="query")
        # KILL QUERY must get through when all other threads are taken.
        self._control = ThreadPoolExecutor(2, thread_name_prefix="control")
        self._running: set[str] = set()

    def close(self) -> None:
        """Waits for what is running."""
        self._threads.shutdown()
        self._control.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        if scope["path"] in ("/ping", "/replicas_status"):
            await _text(send, 200, "Ok.\n")
        elif scope["path"] != "/" or scope["method"] not in ("GET", "POST", "HEAD"):
            await _text(send, 404, f"There is no handle {scope['method']} {scope['path']}\n")
        elif "origin" in headers:
            # A web page in the developer's browser must not reach a database that asks for no password.
            await _text(send, 403, "Requests of web pages are not served\n")
        else:
            await self._query(scope, headers, receive, send)

    async def _query(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        known = {
            "x-clickhouse-server-display-name": self._engine.host,
            "x-clickhouse-timezone": self._engine.timezone,
        }
        reply = Reply(send, known)
        try:
            request = read_request(scope["method"], scope["query_string"], headers)
            known["x-clickhouse-query-id"] = request.query_id
            known["x-clickhouse-timezone"] = request.settings.get("session_timezone", self._engine.timezone)
            if request.flag("enable_http_compression"):
                reply = Reply(send, known, headers.get("accept-encoding", ""))
            body = await _read_body(receive)
            await self._answer(request, headers, body, receive, reply)
        except ClickHouseError as error:
            await reply.error(error.status, error.code, error.text(self._engine.version))
        except ClientGoneError:
            return

    async def _answer(
        self, request: Request, headers: Headers, body: list[bytes], receive: Receive, reply: Reply
    ) -> None:
        if request.query_id in self._running:
            raise ClickHouseError(
                216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", f"Query with id = {request.query_id} is already running."
            )
        self._running.add(request.query_id)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            result = await self._execute(request, headers, body, gone)
            if isinstance(result, Answer):
                await reply.whole(result)
            else:
                await self._send_stream(result, gone, reply)
        finally:
            gone.cancel()
            self._running.discard(request.query_id)

    async def _execute(
        self, request: Request, headers: Headers, body: list[bytes], gone: asyncio.Future[None]
    ) -> Answer | _OpenStream:
        run = asyncio.get_running_loop().run_in_executor
        kills = "KILL" in request.query[:200].upper() or b"KILL" in b"".join(body[:1])[:200].upper()
        work = run(self._control if kills else self._threads, self._work, request, headers, body)
        waited_for: set[asyncio.Future[Any]] = {work, gone}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        if not work.done() and request.flag("cancel_http_readonly_queries_on_client_close"):
            await run(self._control, self._engine.kill_select, request.query_id)
        return await work

    def _work(self, request: Request, headers: Headers, body: list[bytes]) -> Answer | _OpenStream:
        """In a thread: up to the whole answer, or to the first piece of a long one."""
        request, statement = _complete(request, headers, body)
        if isinstance(statement, Insert):
            return self._engine.insert(request, statement)
        shown = (statement.format or request.default_format or "TabSeparated").lower()
        if statement.keyword not in ("SELECT", "WITH") or request.wait_end_of_query or shown not in _JOINABLE:
            return self._engine.run(request, statement)
        stream = self._engine.stream(request, statement)
        try:
            return _OpenStream(stream, stream.next_chunk())
        except ClickHouseError:
            stream.close()
            raise

    async def _send_stream(self, opened: _OpenStream, gone: asyncio.Future[None], reply: Reply) -> None:
        run = asyncio.get_running_loop().run_in_executor
        stream, chunk = opened
        try:
            await reply.begin(stream.format)
            while chunk is not None and not gone.done():
                await reply.piece(chunk)
                chunk = await run(self._threads, stream.next_chunk)
        except ClickHouseError as error:
            await reply.break_off(error.text(self._engine.version))
            return
        finally:
            await run(self._threads, stream.close)
        await reply.end()


def _complete(request: Request, headers: Headers, body: list[bytes]) -> tuple[Request, Statement | Insert]:
    """The request with what its body holds, and its SQL: the URL's query first, the body behind it."""
    encoding = headers.get("content-encoding", "")
    if encoding not in ("", "identity"):
        body = [decode(b"".join(body), encoding)]
    content_type = headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        request, form = add_form(request, b"".join(body), content_type)
        body = [form]
    query = request.query.encode(errors="surrogateescape")
    insert = _insert_of(query) if any(body) else None
    if insert is not None:
        return request, replace(insert, data=[*insert.data, *(memoryview(piece) for piece in body)])
    return request, parse(b"\n".join(part for part in (query, b"".join(body)) if part))


def _insert_of(query: bytes) -> Insert | None:
    """The INSERT that the URL's query is up to its format, so that the body is nothing but rows and need not be put
    together: a block of 40 MB was copied twice for that."""
    if query[:6].upper() != b"INSERT":
        return None
    statement = parse(query + b"\n")
    return statement if isinstance(statement, Insert) and statement.format else None


async def _read_body(receive: Receive) -> list[bytes]:
    """The pieces as they came."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise ClickHouseError(307, "TOO_MANY_BYTES", f"The body has more than {MAX_BODY_BYTES} bytes.")
        if not message.get("more_body", False):
            return chunks


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _text(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=UTF-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
