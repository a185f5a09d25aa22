"""The public API as the console's unit tests have it: set answers by call, and what was asked."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette

from services.console.app import create_app
from services.contract.api.endpoints import BASE_PATH
from services.runtime.settings import ConsoleSettings

SECRET = "0d2f6c1b9e8a47530f6b1c2d3e4a5968"
READER, WRITER, STRANGER = "hr_reader_0123456789", "hr_writer_0123456789", "hr_stranger_012345678"
EMPTY_CATALOG: dict[str, Any] = {
    "built_at": None,
    "building": False,
    "events": [],
    "people": {"sample": 0, "traits": []},
    "groups": [],
}


class FakeApi:
    """READER may query, WRITER may do all. `answers`: (method, path below /v1/analytics) -> status and body."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.keys: list[str] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {
            ("POST", "/query/catalog"): (200, EMPTY_CATALOG),
            ("POST", "/batch"): (200, {"ok": True, "accepted": 0}),
        }
        # Of all other calls.
        self.default: tuple[int, Any] = (404, None)
        self.headers: dict[str, str] = {}
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("nobody is there")
        path = request.url.raw_path.decode().removeprefix(BASE_PATH)
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if path == "/openapi.json":
            return httpx.Response(200, json={})
        self.asked.append((request.method, path, json.loads(request.content or b"null")))
        self.keys.append(key)
        if key not in (READER, WRITER):
            return _refused(401, "unauthorized")
        if key == READER and not path.startswith(
            ("/query", "/persons", "/groups", "/events", "/dashboard", "/cohorts")
        ):
            return _refused(403, "forbidden")
        status, body = self.answers.get((request.method, path.partition("?")[0]), self.default)
        return (
            _refused(status, "not_found") if body is None else httpx.Response(status, json=body, headers=self.headers)
        )


def _refused(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": f"{code}!"}, "request_id": "r"})


def settings(**changed: Any) -> ConsoleSettings:
    return ConsoleSettings(**{"console_secret": SECRET, "console_cookie_secure": False, **changed})


def console(api: FakeApi, **changed: Any) -> Starlette:
    return create_app(settings(**changed), httpx.MockTransport(api))


@asynccontextmanager
async def browser(api: FakeApi, key: str | None = WRITER, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a cookie jar, signed in with the key; it follows no redirect."""
    transport = httpx.ASGITransport(console(api, **changed))
    async with httpx.AsyncClient(transport=transport, base_url="http://console.test") as client:
        if key is not None:
            answer = await client.post("/console/sign-in", data={"key": key, "next": ""})
            assert answer.status_code == 303, answer.text
        api.asked.clear()
        yield client


def token_of(page: str) -> str:
    """The token of a page's forms."""
    return page.partition('<meta name="csrf" content="')[2].partition('"')[0]
