"""HTTP as uvicorn speaks it, with bounds: on heads, on half-sent requests, on unread answers, on connections.

What is refused here never reaches an application. The answer has the one shape of all errors, and the connection closes.

    nothing sent        15 s: closed
    head or body        15 s without a byte, or 60 s in all: 408, closed; a head of more than 64 KiB or 100 headers: 431, closed
    whole               nothing is looked at; it is taken also where its client has closed meanwhile
    answer unread       15 s in which less than 64 KiB are taken: closed
"""

import asyncio
import uuid
from collections.abc import Coroutine
from functools import lru_cache, partial
from typing import Any, cast
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from services.contract.api.errors import ApiError, ErrorBody, ErrorCode
from services.runtime.connections import NO_PROGRESS_S, WHOLE_REQUEST_S, Connections
from services.runtime.http_metrics import HTTP_ERRORS

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
# What one look at a connection reads at most: 8 KiB of the smallest requests or headers are some milliseconds of work.
_PIECE_BYTES = 8 * 1024
# Of what a client goes on sending after a refusal: so much is thrown away, and for so long, so that it can read why.
_LINGER_BYTES = 4 * 1024 * 1024
_LINGER_S = 2.0
# Of an unread answer, so much must be taken within NO_PROGRESS_S.
_READ_AT_LEAST_BYTES = 64 * 1024
_NEW_CONNECTION_AFTER_S = 2
# What the parts of so short an URL are is remembered: nearly all are the same few.
_SHORT_URL_BYTES = 256


class BoundedHttpProtocol(HttpToolsProtocol):
    """`connections` are those of the process; `service` is the name that refusals are counted by."""

    def __init__(self, *, connections: Connections, service: str, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._connections = connections
        self._service = service
        self._is_counted = False
        self._discarded_bytes: int | None = None  # of what came after a refusal; None: nothing was refused
        # The request that is coming in. `_fed_bytes`: of its head at most, or of its body what is none. `_is_offer`: it
        # offers another protocol, and is read again without the offer.
        self._in_message = False
        self._in_head = False
        self._fed_bytes = 0
        self._body_bytes = 0
        self._announced_bytes: int | None = None
        self._is_offer = False
        self._held = b""  # what came behind pipelined requests that have no answer yet
        self._started: RequestResponseCycle | None = None  # the request that is being answered, and by whom
        self._answering: asyncio.Task[None] | None = None
        self._client_left = False
        self._idle_since: float | None = None  # since when there is nothing to do
        self._idle_timer: asyncio.TimerHandle | None = None
        # Since when it comes in, and when something of it came last; of an unread answer what was left, and when.
        self._since: float | None = None
        self._progress_at = 0.0
        self._unread: tuple[int, float] | None = None

    # --- The connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        super().on_message_begin()
        self._scope, self.scope = self.scope, None  # type: ignore[assignment]
        self._since = self._progress_at = self.loop.time()
        self._is_counted = self._connections.enter(self._address)
        if self._is_counted:
            self._connections.wait_for(self)
            return
        self._discarded_bytes = 0
        self._write(_too_many_connections())
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.done_with(self)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._is_counted:
            self._connections.leave(self._address)
        if self._held and self._in_message and not self._in_head:
            self._feed(self._held[: self._body_left()])  # what was read of a body is a part of it
        self._held = b""
        super().connection_lost(exc)
        cycle = self._started
        if cycle is None:
            return
        if not cycle.response_complete:
            cycle.disconnected = True  # of several uvicorn says so to the last one alone
            cycle.message_event.set()
        if not (self._client_left or exc is not None):
            return
        if cycle.body and not (cycle.response_complete or cycle.more_body):
            self.pipeline.append((cycle, self.app))  # the application has not read it: it is asked once more
        if self.pipeline and cycle.keep_alive:
            self._begin(self._take_the_rest())

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client has sent all: it left, or waits for its answers. The connection stays until it has those to all that
        came whole."""
        self._client_left = True
        cycle = self._started
        is_waiting = cycle is not None and not (cycle.more_body or cycle.response_started)
        return bool(is_waiting or self.pipeline or self._held)

    async def _take_the_rest(self) -> None:
        """Requests that came whole before their client was gone. Nobody is there to be answered."""
        if self._answering is not None:
            await asyncio.wait([self._answering])
        while self.pipeline:
            cycle, app = self.pipeline.pop()
            cycle.disconnected = True
            if not cycle.more_body:
                await cycle.run_asgi(partial(_without_client, app, bytes(cycle.body)))
            if not cycle.keep_alive:
                return

    @property
    def client_left(self) -> bool:
        """Whether it sends nothing more: it left, or waits for its answers."""
        return self._client_left

    @property
    def _address(self) -> str | None:
        return self.client[0] if self.client else None

    # --- What comes in ---

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        if self._discarded_bytes is not None:
            self._discard(len(data))
            return
        if self._in_message or self._held or len(data) > _PIECE_BYTES:
            self._feed_pieces(self._held + data)
        else:
            self._feed(data)
        if self._in_message or self.cycle is None or self.cycle.response_complete:
            self._wait_for_the_rest()

    def _feed_pieces(self, data: bytes) -> None:
        """A body of a known length goes in one piece, all else in small ones, each in a step of the loop of its own."""
        self._held = b""
        view, at = memoryview(data), 0
        while at < len(data):
            left = self._body_left() if self._in_message and not self._in_head else 0
            if at and not left:
                self._hold(data[at:])
                self.loop.call_soon(self._feed_held)
                return
            if self.pipeline:  # of requests that wait for their turn there are enough
                self._hold(data[at:])
                return
            piece = view[at : at + max(_PIECE_BYTES, left)]
            at += len(piece)
            if left:
                self._feed(piece)
            else:
                self._feed_bounded(piece)
            if self._discarded_bytes is not None:
                return

    def _feed_bounded(self, piece: memoryview) -> None:
        """Trailers are bounded as heads are, and so is what chunks say beside their size."""
        in_message, in_head, body_bytes = self._in_message, self._in_head, self._body_bytes
        if in_message and in_head:
            self._fed_bytes += len(piece)
        self._feed(piece)
        if in_message and not in_head and self._body_bytes == body_bytes:
            self._fed_bytes += len(piece)
        is_too_large = self._fed_bytes - _PIECE_BYTES > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS
        if self._in_message and is_too_large and self._discarded_bytes is None:
            self._refuse(_head_too_large())

    def _body_left(self) -> int:
        """What is still to come of a body whose length was announced; 0 where it was not."""
        if self._announced_bytes is None:
            announced = next((value for name, value in self.scope["headers"] if name == b"content-length"), b"0")
            self._announced_bytes = int(announced)
        return max(0, self._announced_bytes - self._body_bytes)

    def _hold(self, data: bytes) -> None:
        """Keep it, and read no more, also where the application asks for more, which uvicorn would then do."""
        self._held = data
        self.transport.pause_reading()
        self.flow.read_paused = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._started = cycle
        self._answering = self._begin(cycle.run_asgi(app))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        return task

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            else:
                self._be_idle()
        if self._held and not self.pipeline:
            self.loop.call_soon(self._feed_held)
        elif self._client_left and is_last:
            self.transport.close()

    def _be_idle(self) -> None:
        """One timer for many requests: to set one for each, and take it back, is a twentieth of what an event costs."""
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_at_idle)

    def _look_at_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._look_at_idle)
        else:
            self.timeout_keep_alive_handler()

    def _feed_held(self) -> None:
        if self._held and not self.transport.is_closing():
            self.transport.resume_reading()
            self.data_received(b"")

    def _feed(self, data: bytes | memoryview) -> None:
        """One piece to the parser. Refuses what it does not take."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ApiError) else _invalid_request(error))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """For the parser a request that offers another protocol ends with its head. It is read again without the offer."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_offer = False
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    # --- What the parser finds: in the place of uvicorn's own methods, which know of protocols that are not spoken here ---

    def on_message_begin(self) -> None:
        self._in_message = self._in_head = True
        self._fed_bytes = _PIECE_BYTES  # at most: it begins somewhere in a piece
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = self._scope.copy()
        self.scope["headers"] = self.headers
        self.scope["state"] = self.app_state.copy()

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS or (
            self._fed_bytes > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES
        ):
            raise _head_too_large()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ApiError(ErrorCode.METHOD_NOT_ALLOWED, "This server is no proxy: it does not take CONNECT.")
            self._is_offer = True
            return
        self._begin_request()
        self._in_head = False
        self._fed_bytes = self._body_bytes = 0
        self._announced_bytes = None
        self.headers = []  # what comes now are trailers, which nobody reads

    def _begin_request(self) -> None:
        """Uvicorn's own parses each path again, and looks at settings that are not used here: a twelfth of a single event."""
        parser, scope, before = self.parser, self.scope, self.cycle
        version = parser.get_http_version()
        if version != "1.1":
            scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        keep_alive = version != "1.0" and parser.should_keep_alive()
        if self.expect_100_continue:
            # HTTP/1.0 knows no such answer. Who waits for it and is answered at once sends no body: what came next would be
            # taken for it. So the connection closes then, unless the body comes.
            self.expect_100_continue, keep_alive = version != "1.0", False
        short = len(self.url) <= _SHORT_URL_BYTES
        scope["path"], scope["raw_path"], scope["query_string"] = (_short_url if short else _url)(self.url)
        self.cycle = RequestResponseCycle(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            keep_alive,
            self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:  # pipelined: it waits for its turn
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _head_bytes(self) -> int:
        line = len(self.parser.get_method()) + len(self.url) + len(b"  HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        cycle = self.cycle
        if self.expect_100_continue:
            self._body_comes()
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._in_message = False
        self._since = None
        if not self._is_offer:
            if self.expect_100_continue:
                self._body_comes()
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def _body_comes(self) -> None:
        self.expect_100_continue = False
        if not self.cycle.response_started:
            self.cycle.keep_alive = self.parser.should_keep_alive()

    # --- The client's part ---

    def _wait_for_the_rest(self) -> None:
        self._progress_at = self.loop.time()
        if self._since is None:
            self._since = self._progress_at
        self._connections.wait_for(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = None
        self._connections.wait_for(self)

    def is_waiting(self) -> bool:
        if self.transport.is_closing() or self._discarded_bytes is not None:
            return False
        if self.flow.write_paused or self._in_message or self.cycle is None:
            return True
        # What came after the last answer and is no request, such as an empty line.
        return self.cycle.response_complete and self._idle_since is None

    def is_late(self, now: float, since_last_look: float) -> bool:
        if self.flow.write_paused:
            return self._is_unread(now)
        if self._is_our_part():
            self._progress_at = now
            self._since = (self._since or now) + since_last_look
            return False
        return now - self._progress_at > NO_PROGRESS_S or now - (self._since or now) > WHOLE_REQUEST_S

    def _is_our_part(self) -> bool:
        """Whether the client may be waiting for us: nothing is read, the body was not asked for, an answer is due."""
        cycle = self.cycle
        if self._held or self.flow.read_paused or cycle is None or cycle.response_complete:
            return bool(self._held or self.flow.read_paused)
        return self._in_head or cycle.waiting_for_100_continue

    def _is_unread(self, now: float) -> bool:
        left = self.transport.get_write_buffer_size()
        if self._unread is None or left <= self._unread[0] - _READ_AT_LEAST_BYTES:
            self._unread = (left, now)
        return now - self._unread[1] > NO_PROGRESS_S

    def give_up(self) -> None:
        if self.flow.write_paused:
            self.transport.abort()
        elif self._in_message:
            self._refuse(
                ApiError(
                    ErrorCode.REQUEST_TIMEOUT,
                    f"The request did not come in whole: {NO_PROGRESS_S:g} s may pass without a byte of it, "
                    f"{WHOLE_REQUEST_S:g} s in all. Send it again, with the same idempotency keys.",
                )
            )
        else:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # nobody reads the last answer
        super().timeout_keep_alive_handler()

    # --- Refusing ---

    def _refuse(self, error: ApiError) -> None:
        """Answer once, after the requests before it have their answers; take nothing more, and close."""
        self._discarded_bytes = 0
        cycle = self.cycle
        is_in_body = self._in_message and not self._in_head
        if cycle is None or (cycle.response_complete and not is_in_body):
            self._write_and_close(error)
        elif not is_in_body:
            cycle.on_response = partial(self._write_and_close, error)
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            # The application hears that the client is gone, and answers nothing.
            cycle.disconnected = True
            cycle.message_event.set()
            self._write_and_close(error)

    def _write_and_close(self, error: ApiError) -> None:
        if not self.transport.is_closing():
            self._write(error)
            self.loop.call_later(_LINGER_S, self.transport.abort)

    def _discard(self, size: int) -> None:
        """The client may not have read the refusal yet: what it goes on sending is taken for a while."""
        self._discarded_bytes = (self._discarded_bytes or 0) + size
        if self._discarded_bytes > _LINGER_BYTES:
            if self.cycle is None or self.cycle.response_complete or self.cycle.disconnected:
                self.transport.abort()
            else:
                self.transport.pause_reading()

    def _write(self, error: ApiError) -> None:
        HTTP_ERRORS.labels(self._service, error.code.code).inc()
        request_id = uuid.uuid4().hex
        body = msgspec.json.encode(ErrorBody(error.detail(), request_id))
        lines = [
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"x-request-id: %s" % request_id.encode(),
            b"connection: close",
        ]
        if error.retry_after_s is not None:
            lines.append(b"retry-after: %d" % error.retry_after_s)
        self.transport.write(STATUS_LINE[error.code.status] + b"\r\n".join(lines) + b"\r\n\r\n" + body)


def _url(url: bytes) -> tuple[str, bytes, bytes]:
    """Its path, that as it was sent, and what stands behind the question mark."""
    parsed = httptools.parse_url(url)
    raw_path: bytes = parsed.path or b"/"  # of `http://host` there is none
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path else path, raw_path, parsed.query or b""


_short_url = lru_cache(maxsize=256)(_url)


async def _without_client(app: Any, body: bytes, scope: Any, receive: Any, send: Any) -> None:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive_all() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    await app(scope, receive_all, send)


def _head_too_large() -> ApiError:
    return ApiError(
        ErrorCode.HEADERS_TOO_LARGE,
        f"The request line and the headers may have {MAX_HEAD_BYTES} bytes in all, and {MAX_HEADERS} headers. "
        "Send fewer or shorter ones.",
    )


def _invalid_request(error: httptools.HttpParserError) -> ApiError:
    # What it says of an address that our own part of it could not read is about that part.
    reason = "" if isinstance(error, httptools.HttpParserCallbackError) else f" ({error})"
    return ApiError(
        ErrorCode.INVALID_REQUEST,
        f"This is no request that HTTP/1.1 allows{reason}. Look at its first line, its headers and its length.",
    )


def _too_many_connections() -> ApiError:
    return ApiError(
        ErrorCode.TOO_MANY_CONNECTIONS,
        "This process has as many connections as it may have, in all or of this address. Send many requests over one "
        "connection, and retry later.",
        retry_after_s=_NEW_CONNECTION_AFTER_S,
    )


def bounded_protocol(connections: Connections, service: str) -> type[asyncio.Protocol]:
    """What uvicorn makes a protocol with; a class in all that matters to it."""
    return cast(type[asyncio.Protocol], partial(BoundedHttpProtocol, connections=connections, service=service))
