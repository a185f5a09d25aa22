"""Answers that a client may read slowly, or never: what is not read yet is bounded, for a project and in all.

A large answer is sent in parts, each when the one before has gone out; its bytes count until the last has.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import UNSET, Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from services.contract.api.errors import ApiError, ErrorCode
from services.query.http.requests import CSV_TAG
from services.query.http.tables import csv_lines, table_of, wants_csv
from services.query.insights.runner import Answer
from services.runtime.byte_budget import BudgetExceededError, ByteBudget
from services.runtime.http import listed_header

# Below it an answer fits into what the system keeps for a connection anyway.
_SMALL_BYTES = 64 * 1024
_RETRY_AFTER_S = 5

_encode = msgspec.json.Encoder().encode


class Answers:
    """Belongs to one event loop."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget

    @contextmanager
    def gathering(self, project_id: str) -> Iterator[Callable[[int], None]]:
        """For an answer that is put together of others: to be called with the bytes of each. Raises ApiError as `json`."""
        gathered = 0

        def add(size: int) -> None:
            nonlocal gathered
            self._reserve(project_id, size)
            gathered += size

        try:
            yield add
        finally:
            self._budget.free(project_id, gathered)

    def json(self, project_id: str, content: Any) -> Response:
        """Raises ApiError 429 where the project's answers wait to be read already, 503 where all clients' do."""
        return self._encoded(project_id, _encode(content))

    def _encoded(self, project_id: str, body: bytes) -> Response:
        if len(body) <= _SMALL_BYTES:
            return Response(body, media_type="application/json")
        self._reserve(project_id, len(body))
        return _LargeAnswer(body, self._budget, project_id)

    def tagged(self, request: Request, project_id: str, kind: str, answer: Answer, result: type[Struct]) -> Response:
        """As the request's Accept says, with the tag of that form; 304 where the client has it. Raises as `json`."""
        as_csv = wants_csv(listed_header(request, "accept"))
        if answer.body is None:
            response = Response(status_code=304, headers={"vary": "Accept"})
        elif as_csv:
            response = self._table(project_id, kind, msgspec.json.decode(answer.body, type=result), len(answer.body))
        else:
            response = self._encoded(project_id, answer.body)
            response.headers["vary"] = "Accept"
        if answer.tag is not None:
            response.headers["etag"] = f'"{answer.tag}{CSV_TAG if as_csv else ""}"'
        return response

    def answer(self, request: Request, project_id: str, kind: str, content: Any) -> Response:
        """As the request's Accept says: JSON, or a table. Raises as `json`."""
        if not wants_csv(listed_header(request, "accept")):
            response = self.json(project_id, content)
            response.headers["vary"] = "Accept"
            return response
        return self._table(project_id, kind, content, len(_encode(content)))

    def _table(self, project_id: str, kind: str, content: Any, size: int) -> Response:
        """`size`: of the JSON, as good a measure as any of what is held while it is being read."""
        self._reserve(project_id, size)
        headers = {"vary": "Accept"}
        cursor = getattr(content, "next_cursor", UNSET)
        if cursor is not UNSET:
            headers["x-next-cursor"] = cursor
        if getattr(content, "partial", UNSET) is not UNSET:
            headers["x-partial"] = "true"
        return _Table(csv_lines(table_of(kind, content)), headers, self._budget, project_id, size)

    def _reserve(self, project_id: str, size: int) -> None:
        try:
            self._budget.reserve(project_id, size)
        except BudgetExceededError as error:
            if error.of_project:
                code, whose = ErrorCode.RATE_LIMITED, "of this project "
            else:
                code, whose = ErrorCode.STORE_UNAVAILABLE, ""
            message = f"Too many answers {whose}wait to be read. Read them, and ask again."
            raise ApiError(code, message, retry_after_s=_RETRY_AFTER_S) from error


class _LargeAnswer(Response):
    """Holds its part of the budget until it is sent, or its client gone."""

    media_type = "application/json"

    def __init__(self, body: bytes, budget: ByteBudget, project_id: str) -> None:
        super().__init__(body)
        self._budget = budget
        self._project_id = project_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        view = memoryview(bytes(self.body))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for at in range(0, len(view), _SMALL_BYTES):
                # Waits while the client does not read.
                await send(
                    {"type": "http.response.body", "body": bytes(view[at : at + _SMALL_BYTES]), "more_body": True}
                )
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._budget.free(self._project_id, len(view))


class _Table(StreamingResponse):
    """Lines are made as they are read. Holds its part of the budget until the last is sent, or its client gone."""

    def __init__(
        self, lines: Iterator[bytes], headers: dict[str, str], budget: ByteBudget, project_id: str, size: int
    ) -> None:
        super().__init__(_pieces(lines), headers=headers, media_type="text/csv; charset=utf-8; header=present")
        self._budget = budget
        self._project_id = project_id
        self._size = size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._budget.free(self._project_id, self._size)


async def _pieces(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= _SMALL_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)
