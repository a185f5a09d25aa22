"""What edge and query have in common as HTTP services: error answers, health, metrics, serving until SIGTERM."""

import re
import resource
import uuid
from collections.abc import Awaitable, Callable, Mapping
from threading import Event
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from services.contract.api.errors import ApiError, ErrorBody, ErrorCode
from services.contract.api.sdk import sdk_path
from services.runtime.background import dead_tasks
from services.runtime.clickhouse import LimitExceededError, StatementTooLongError, StoreError
from services.runtime.connections import NO_LIMITS, Connections
from services.runtime.http_metrics import HTTP_ERRORS, count_errors_from_zero
from services.runtime.http_protocol import bounded_protocol
from services.runtime.logs import get_logger
from services.runtime.metrics import render_metrics

log = get_logger(__name__)

# Connections to Kafka and ClickHouse, listening sockets, logs.
_OTHER_FILES = 256
REQUEST_ID_HEADER = "x-request-id"
_REQUEST_ID = REQUEST_ID_HEADER.encode()
# In a request's scope: its headers as a dict, where no name comes twice. Whoever has made one anyway puts it there.
HEADERS_BY_NAME = "headrace.headers"

# Set when the process is asked to end: answers that would go on for ever end then.
STOPPING = Event()

# The same as in deploy/gateway.conf.
_CALL = re.compile(
    r"/v1/analytics/(?:track|batch|identify|alias|group|persons|groups|cohorts|events/live|events"
    r"|(?:query|dashboard|privacy)/[a-z]+)(?=/|$)"
    r"|/console(?:/[a-z-]+)?(?=/|$)|/docs(?=/|$)|/openapi\.json$"
)

_encode = msgspec.json.Encoder().encode

_STATUS_CODES = {
    404: (ErrorCode.NOT_FOUND, "There is no such address. See /docs for the calls."),
    405: (ErrorCode.METHOD_NOT_ALLOWED, "This address does not take this method. See /docs for the calls."),
}


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers, "application/json")


def header(request: Request, name: bytes) -> str | None:
    """The first header of this lower-case name. Starlette's own mapping costs three times as much a look."""
    by_name = request.scope.get(HEADERS_BY_NAME)
    if by_name is not None:
        found = by_name.get(name)
        return None if found is None else found.decode("latin-1")
    for key, value in request.scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def listed_header(request: Request, name: str) -> str:
    """Of a header that is a list: those of several lines are one, as HTTP says."""
    return ",".join(request.headers.getlist(name))


def authorization_of(request: Request) -> str | None:
    """The Authorization header. Raises ApiError 401 for two: whoever stands in between may take the one or the other."""
    if HEADERS_BY_NAME in request.scope:
        return header(request, b"authorization")
    given = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if len(given) > 1:
        raise ApiError(ErrorCode.UNAUTHORIZED, "Send one Authorization header: it is not clear which of them counts.")
    text: str | None = given[0].decode("latin-1") if given else None
    return text


def request_id_of(request: Request) -> str:
    """The caller's X-Request-Id where it is a sane one, else a new one; the same one however often it is asked."""
    given = header(request, _REQUEST_ID) or ""
    if 0 < len(given) <= 128 and given.isprintable() and given.isascii():
        return given
    made: str | None = request.scope.get("request_id")
    if made is None:
        made = request.scope["request_id"] = uuid.uuid4().hex
    return made


def headers_for_pages(request: Request) -> Mapping[str, str]:
    """With which a page can read the answer. Some SDKs send with credentials, and then a browser shows them no answer to
    `*`; no cookie means anything here."""
    origin = header(request, b"origin")
    if origin is None:
        return {}
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "Retry-After, X-Request-Id",
        "vary": "Origin",
    }


def error_response(request: Request, error: ApiError, service: str) -> Response:
    """The one shape of every error; counts it."""
    HTTP_ERRORS.labels(service, error.code.code).inc()
    request_id = request_id_of(request)
    headers = {REQUEST_ID_HEADER: request_id}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    if error.code is ErrorCode.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return json_response(ErrorBody(error.detail(), request_id), error.code.status, headers)


def error_of_store(error: StoreError, path: str) -> ApiError:
    """What a client is told of it. What is no limit of the query's is logged."""
    if isinstance(error, LimitExceededError):
        advice = "Narrow the window, filter more, or ask for less, and retry."
        if isinstance(error, StatementTooLongError):
            advice = "It has too many conditions in all: use fewer, also in its steps."
        return ApiError(ErrorCode.QUERY_TOO_EXPENSIVE, f"The query needs too much. {advice}")
    log.error("store_error", call=call_of(path), reason=_without_values(str(error))[:2000])
    return ApiError(ErrorCode.STORE_UNAVAILABLE, "The store cannot answer now. Retry.", retry_after_s=2)


def call_of(path: str) -> str:
    """What of a path names the call, for logs: the rest may be the id of a person, or whatever a stranger wrote."""
    found = _CALL.match(path)
    return found[0] if found else sdk_path(path) or "other"


def _without_values(reason: str) -> str:
    """Of ClickHouse's message what comes before the statement, which has its parameters in it."""
    return reason.partition(": In scope ")[0].partition(": while executing ")[0].partition(": While processing ")[0]


def bug_response(request: Request, error: Exception, service: str) -> Response:
    """The answer to whatever nobody has foreseen; logs it."""
    request_id = request_id_of(request)
    log.error("internal_error", call=call_of(request.scope["path"]), request_id=request_id, exc_info=error)
    bug = ApiError(ErrorCode.INTERNAL_ERROR, "This is a fault of the server. Please report the request_id.")
    return error_response(request, bug, service)


def exception_handlers(service: str) -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """Starlette's exception handlers: everything that a request can raise becomes an answer of the one shape."""

    async def on_api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101 (narrows the type that Starlette passes)
        return error_response(request, error, service)

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        code, message = _STATUS_CODES.get(error.status_code, (ErrorCode.INVALID_FIELD, str(error.detail)))
        response = error_response(request, ApiError(code, message), service)
        response.headers.update(error.headers or {})
        return response

    async def on_store_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, StoreError)  # noqa: S101
        return error_response(request, error_of_store(error, request.url.path), service)

    async def on_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=400)  # nobody is there to read it

    async def on_bug(request: Request, error: Exception) -> Response:
        return bug_response(request, error, service)

    return {
        ApiError: on_api_error,
        ClientDisconnect: on_disconnect,
        HTTPException: on_http_exception,
        StoreError: on_store_error,
        Exception: on_bug,
    }


async def receive_body(request: Request, max_bytes: int, advice: str) -> bytes:
    """The body as it comes. Raises ApiError 413, with the advice, as soon as it is too large."""
    announced = header(request, b"content-length") or "0"
    size = float(announced) if announced.isdecimal() else 0  # float: takes any number of digits
    received = 0
    chunks: list[bytes] = []
    more = True
    while more and max(size, received) <= max_bytes:
        message = await request.receive()  # Starlette's stream() of these costs as much as all else here
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        received += len(chunk)
        chunks.append(chunk)
        more = message.get("more_body", False)
    if max(size, received) > max_bytes:
        raise ApiError(ErrorCode.BODY_TOO_LARGE, f"The body is larger than {max_bytes} bytes. {advice}")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def exact_addresses(app: Starlette) -> None:
    """Whatever differs from an address by a single character is another one, and 404 in the one error shape.

    With a slash too many: a redirect would lead where the request's Host says. With a line feed: Starlette's patterns
    overlook one at the end, and take none in the middle, where an id may have it.
    """
    app.router.redirect_slashes = False
    for route in app.routes:
        if isinstance(route, Route):
            route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)


def operation_routes(ready: Callable[[], Awaitable[dict[str, bool]]]) -> list[Route]:
    """/health/live (503 when a task of the service has died), /health/ready (503 while any named check is false), /metrics."""

    async def live(request: Request) -> Response:
        if dead := dead_tasks():
            return PlainTextResponse(f"ended: {', '.join(dead)}\n", 503)
        return PlainTextResponse("ok\n")

    async def readiness(request: Request) -> Response:
        checks = await ready()
        ok = all(checks.values())
        return json_response({"ready": ok, "checks": checks}, 200 if ok else 503)

    async def metrics(request: Request) -> Response:
        text, content_type = render_metrics()
        return Response(text, headers={"content-type": content_type})

    return [
        Route("/health/live", live),
        Route("/health/ready", readiness),
        Route("/metrics", metrics),
    ]


def serve(
    app: ASGIApp, host: str, port: int, drain_timeout_s: int, service: str, connections: Connections | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then take no more, finish what is under way, and return."""
    connections = connections or Connections(NO_LIMITS)
    _allow_files(connections.limits.in_all)
    count_errors_from_zero(service)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=bounded_protocol(connections, service),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        date_header=False,
        timeout_graceful_shutdown=drain_timeout_s,
        # Longer than proxies keep a connection: the one who may send on it should be the one who closes it.
        timeout_keep_alive=75,
        backlog=4096,
    )
    _Server(config).run()


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        STOPPING.set()
        super().handle_exit(sig, frame)


def _allow_files(connections: int) -> None:
    """As many open files as the connections need, where the system lets us: a shell's usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
