"""Servers that take the same requests and do nothing: bare ASGI, and a Starlette route. `BENCH_KIND` says which."""

import os
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.runtime.http import serve

PATH = "/v1/analytics/{call}"


def starlette_app(answer: bytes) -> Starlette:
    async def take(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    async def live(request: Request) -> Response:
        return Response(b"ok\n")

    return Starlette(routes=[Route(PATH, take, methods=["POST"]), Route("/health/live", live)])


def bare_app(answer: bytes) -> Any:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


if __name__ == "__main__":
    text = b'{"ok":true,"accepted":%d}' % int(os.environ["BENCH_ACCEPTED"])
    make = bare_app if os.environ["BENCH_KIND"] == "bare" else starlette_app
    serve(make(text), "127.0.0.1", int(os.environ["BENCH_PORT"]), 5, "noop")
