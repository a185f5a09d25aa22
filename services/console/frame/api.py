"""The public API, and nothing else: what the console knows, it knows from here, with the key of who is signed in."""

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec
from prometheus_client import Histogram

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ErrorBody
from services.runtime.http import call_of
from services.runtime.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")
SECONDS = Histogram(
    "headrace_console_api_seconds",
    "Answers of the API, by call and status.",
    ["call", "status"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
# The stream of live events says something every ten seconds.
_STREAM_TIMEOUT_S = 30
# Each open page of live events has a connection. Idle ones are given up before the gateway gives them up.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=3)
Params = Mapping[str, str | int | None]


class AnswerError(Exception):
    """An answer of the API that is an error, or none at all. `field` names what was wrong, as in the body that was sent."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field


class Api:
    """One for the process: it keeps connections."""

    def __init__(self, base_url: str, timeout_s: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(timeout_s, connect=5),
            limits=_LIMITS,
            transport=transport,
            trust_env=False,
        )

    def with_key(self, key: str) -> "KeyedApi":
        return KeyedApi(self._client, key)

    async def answers(self) -> bool:
        """Whether the API is there."""
        try:
            return (await self._client.get("/openapi.json")).status_code == 200
        except httpx.HTTPError:
            return False

    async def close(self) -> None:
        await self._client.aclose()


class KeyedApi:
    """Calls with one key. Paths are below `/v1/analytics`; each call raises AnswerError."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {key}"}

    async def get(self, path: str, answer: type[T], params: Params | None = None) -> T:
        return await self.call("GET", path, answer, params=params)

    async def post(self, path: str, body: Any, answer: type[T]) -> T:
        return await self.call("POST", path, answer, body)

    async def call(
        self, method: str, path: str, answer: type[T], body: Any = msgspec.UNSET, params: Params | None = None
    ) -> T:
        """The answer as a value. `body`: whatever msgspec writes as JSON."""
        response = await self._send(method, address_of(path, params), body)
        if response.status_code >= 400:
            raise problem_of(response.status_code, response.content)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except msgspec.MsgspecError as error:
            log.error("answer_not_understood", call=call_of(BASE_PATH + path), reason=str(error)[:200])
            raise AnswerError(
                502, "internal_error", "The API answered in a way that the console does not know."
            ) from None

    async def send(
        self, method: str, path: str, body: Any = msgspec.UNSET, accept: str = "application/json"
    ) -> httpx.Response:
        """The answer as it is: CSV, JSON to show."""
        response = await self._send(method, BASE_PATH + path, body, accept)
        if response.status_code >= 400:
            raise problem_of(response.status_code, response.content)
        return response

    def stream(self, path: str, params: Params, last_event_id: str) -> AbstractAsyncContextManager[httpx.Response]:
        """The open answer: what comes is passed on as it comes."""
        headers = self._headers | ({"last-event-id": last_event_id} if last_event_id else {})
        timeout = httpx.Timeout(_STREAM_TIMEOUT_S, connect=5)
        return self._client.stream("GET", address_of(path, params), headers=headers, timeout=timeout)

    async def _send(self, method: str, address: str, body: Any, accept: str = "application/json") -> httpx.Response:
        headers = {**self._headers, "accept": accept}
        content = None
        if body is not msgspec.UNSET:
            headers["content-type"] = "application/json"
            content = msgspec.json.encode(body)
        call, status, began = call_of(address.partition("?")[0]), "none", time.perf_counter()
        try:
            response = await self._client.request(method, address, content=content, headers=headers)
            status = str(response.status_code)
            return response
        except httpx.HTTPError as error:
            log.warning("api_unavailable", call=call, reason=type(error).__name__)
            raise AnswerError(503, "unavailable", "The API does not answer now. Try again.") from None
        finally:
            SECONDS.labels(call, status).observe(time.perf_counter() - began)


def part(text: str) -> str:
    """An id as a part of a path. Also dots: `..` would be another path."""
    return quote(text, safe="").replace(".", "%2E")


def address_of(path: str, params: Params | None = None) -> str:
    given = {name: value for name, value in (params or {}).items() if value not in (None, "")}
    return BASE_PATH + path + (f"?{urlencode(given)}" if given else "")


def problem_of(status: int, content: bytes) -> AnswerError:
    """Of the one shape of errors; a proxy in between may answer in another one."""
    try:
        error = msgspec.json.decode(content, type=ErrorBody).error
    except msgspec.MsgspecError:
        return AnswerError(status, "unavailable", f"The API answered with status {status}. Try again.")
    return AnswerError(status, error.code, error.message, None if error.field is msgspec.UNSET else error.field)
