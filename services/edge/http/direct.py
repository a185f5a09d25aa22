"""The calls as ASGI applications of their own, reached past all of Starlette."""

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as HttpScope

from services.contract.api.errors import ApiError
from services.edge.http.refused import count_refused_request
from services.edge.loop_metrics import BOUNDS_S, LoopHistogram
from services.runtime.http import HEADERS_BY_NAME, bug_response, error_response
from services.runtime.whole_answer import send_whole

SECONDS = LoopHistogram(
    "headrace_edge_request_seconds",
    "From the first byte of a request to its answer.",
    BOUNDS_S,
    ["call"],
)


class Endpoint:
    """A call as an ASGI application, which answers its own errors."""

    def __init__(self, name: str, call: Callable[[Request], Awaitable[Response]]) -> None:
        self._seconds = SECONDS.labels(name)
        self._call = call

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        request = Request(scope, receive, send)
        try:
            response = await self._call(request)
        except ApiError as error:
            count_refused_request(scope, error.code)
            response = error_response(request, error, "edge")
        except ClientDisconnect:
            return  # nobody is there to read an answer
        except Exception as error:
            response = bug_response(request, error, "edge")
        finally:
            self._seconds.observe(perf_counter() - started)
        if not send_whole(send, response):
            await response(scope, receive, send)


class DirectCalls:
    """Around the application: leads the calls to their endpoints past all of Starlette, which costs a third of a single
    event. Everything else goes the usual way: wrong methods, and calls of web pages, whose answers need CORS headers."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        endpoint = None
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = dict(scope["headers"])
            if b"origin" not in headers:
                endpoint = self._endpoints.get(scope["path"])
            if len(headers) == len(scope["headers"]):
                scope[HEADERS_BY_NAME] = headers
        await (endpoint or self._app)(scope, receive, send)
