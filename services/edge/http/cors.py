"""CORS: any web page may send events with its project's key, and whatever headers its tools add (tracing does)."""

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.contract.api.errors import ApiError, ErrorCode
from services.runtime.http import error_response


class _Cors(CORSMiddleware):
    """Refuses a method in the one shape of all errors; nothing else of a preflight can be refused."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            asked = Headers(scope=scope).get("access-control-request-method")
            if asked is not None and asked not in self.allow_methods:
                await self._refusal(Request(scope), asked)(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _refusal(self, request: Request, asked: str) -> Response:
        error = ApiError(ErrorCode.METHOD_NOT_ALLOWED, f"A web page may send POST here, not `{asked[:50]}`.")
        response = error_response(request, error, "edge")
        response.headers.update(self.simple_headers)
        return response


CORS = Middleware(
    _Cors,
    allow_origins=["*"],
    allow_methods=["POST", "OPTIONS"],
    allow_headers=["*"],
    allow_private_network=True,
    expose_headers=["Retry-After", "X-Request-Id"],
    max_age=86_400,
)
