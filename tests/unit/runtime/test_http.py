"""What edge and query share as HTTP services: every failure becomes an answer of the one shape."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from services.contract.api.errors import ApiError, ErrorCode
from services.runtime.clickhouse import BadDataError, LimitExceededError, StoreError, StoreUnavailableError
from services.runtime.http import call_of, error_of_store, exception_handlers, json_response, operation_routes


def raising(error: Exception) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        raise error

    return endpoint


async def ask(error: Exception) -> httpx.Response:
    """The answer of an endpoint that raises `error`."""
    app = Starlette(
        routes=[Route("/failing", raising(error), methods=["POST"])], exception_handlers=exception_handlers("test")
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post("/failing")


@pytest.mark.parametrize("code", list(ErrorCode), ids=lambda code: code.code)
async def test_each_code_is_answered_with_its_status(code: ErrorCode) -> None:
    response = await ask(ApiError(code, "Mend it.", field="events[3].event", index=3, retry_after_s=7))
    assert response.status_code == code.status
    assert response.json() == {
        "error": {"code": code.code, "message": "Mend it.", "field": "events[3].event", "index": 3},
        "request_id": response.headers["x-request-id"],
    }
    assert response.headers["retry-after"] == "7"
    assert response.headers.get("www-authenticate") == ("Bearer" if code is ErrorCode.UNAUTHORIZED else None)


async def test_an_error_that_needs_no_waiting_does_not_ask_for_it() -> None:
    assert "retry-after" not in (await ask(ApiError(ErrorCode.INVALID_JSON, "Mend it."))).headers


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LimitExceededError("too many rows", 158), ErrorCode.QUERY_TOO_EXPENSIVE),
        (StoreUnavailableError("away"), ErrorCode.STORE_UNAVAILABLE),
        (BadDataError("hm", 27), ErrorCode.STORE_UNAVAILABLE),
        (StoreError("no such table", 60), ErrorCode.STORE_UNAVAILABLE),
        (HTTPException(404), ErrorCode.NOT_FOUND),
        (HTTPException(405), ErrorCode.METHOD_NOT_ALLOWED),
        (HTTPException(400, "odd"), ErrorCode.INVALID_FIELD),
        (RuntimeError("bug"), ErrorCode.INTERNAL_ERROR),
        (ValueError("bug"), ErrorCode.INTERNAL_ERROR),
    ],
    ids=repr,
)
async def test_whatever_is_raised_has_a_code(error: Exception, code: ErrorCode) -> None:
    with capture_logs():
        response = await ask(error)
    assert (response.status_code, response.json()["error"]["code"]) == (code.status, code.code)
    assert ("retry-after" in response.headers) == (code.status == 503)


@pytest.mark.parametrize(
    "error", [StoreError("SELECT secret", 60), LimitExceededError("SELECT secret", 241), RuntimeError("SELECT secret")]
)
async def test_an_answer_does_not_tell_what_the_store_said(error: Exception) -> None:
    with capture_logs():
        assert "secret" not in (await ask(error)).text


async def test_a_fault_is_logged_under_the_id_that_the_client_gets() -> None:
    with capture_logs() as logged:
        response = await ask(RuntimeError("bug"))
    (entry,) = logged
    assert (entry["event"], entry["call"]) == ("internal_error", "other")
    assert entry["request_id"] == response.json()["request_id"] == response.headers["x-request-id"]


async def test_a_client_that_went_away_is_no_fault_of_the_server() -> None:
    with capture_logs() as logged:
        response = await ask(ClientDisconnect())
    assert response.status_code == 400
    assert logged == []


@pytest.fixture
async def client() -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, bool]]]:
    checks = {"kafka": True, "keys": True}

    async def ready() -> dict[str, bool]:
        return checks

    app = Starlette(routes=operation_routes(ready), exception_handlers=exception_handlers("test"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield http, checks


async def test_it_is_ready_when_all_checks_hold(client: tuple[httpx.AsyncClient, dict[str, bool]]) -> None:
    http, checks = client
    assert (await http.get("/health/ready")).status_code == 200
    checks["keys"] = False
    response = await http.get("/health/ready")
    assert response.status_code == 503
    assert response.json() == {"ready": False, "checks": {"kafka": True, "keys": False}}
    assert (await http.get("/health/live")).status_code == 200


async def test_metrics_are_served(
    client: tuple[httpx.AsyncClient, dict[str, bool]],
) -> None:
    http, _ = client
    assert "# HELP headrace_http_errors_total" in (await http.get("/metrics")).text


@pytest.mark.parametrize("where", ["/nowhere", "/metrics"])
async def test_other_addresses_and_methods_have_the_one_shape_too(
    client: tuple[httpx.AsyncClient, dict[str, bool]], where: str
) -> None:
    response = await client[0].post(where)
    assert response.status_code in (404, 405)
    assert set(response.json()) == {"error", "request_id"}


def test_json_is_written_as_its_types_say() -> None:
    class Answer(msgspec.Struct):
        ok: bool
        warnings: list[str] | msgspec.UnsetType = msgspec.UNSET

    response = json_response(Answer(True), 201, {"x-a": "b"})
    assert (response.body, response.status_code) == (b'{"ok":true}', 201)
    assert (response.headers["content-type"], response.headers["x-a"]) == ("application/json", "b")


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/v1/analytics/track", "/v1/analytics/track"),
        ("/v1/analytics/persons/ada@shop.example", "/v1/analytics/persons"),
        ("/v1/analytics/persons/a\nb/c", "/v1/analytics/persons"),
        ("/v1/analytics/personsx", "other"),
        ("/v1/analytics/dashboard/get/0b1c", "/v1/analytics/dashboard/get"),
        ("/v1/analytics/query/ada@shop.example", "other"),
        ("/ada@shop.example", "other"),
        ("/docs/swagger-ui.js", "/docs"),
    ],
)
def test_logs_name_the_call_and_nobody(path: str, call: str) -> None:
    assert call_of(path) == call
    with capture_logs() as logged:
        error_of_store(StoreError("Code: 47. In the way: In scope SELECT 'ada@shop.example'. (UNKNOWN)", 47), path)
    assert logged == [
        {"event": "store_error", "log_level": "error", "call": call, "reason": "Code: 47. In the way"},
    ]
