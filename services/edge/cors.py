"""CORS: any web page may send events with its project's key."""

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send


class BrowserCors(CORSMiddleware):
    """Starlette's CORS for requests that come from a page. Others have no Origin and no need of a wrapped `send`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"origin" in dict(scope["headers"]):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


CORS = Middleware(
    BrowserCors,
    allow_origins=["*"],
    allow_methods=["POST", "OPTIONS"],
    allow_headers=["Authorization", "Content-Type", "Content-Encoding", "Idempotency-Key", "X-Request-Id"],
    expose_headers=["Retry-After", "X-Request-Id"],
    max_age=86_400,
)
