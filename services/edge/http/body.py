"""Reads a request's body: media type, encoding, limits; charged to its project before anybody looks into it.

Most bodies are small and come in one piece; they pass straight through. All others are bounded together:

    received    bytes that wait, in all and of one project (ByteBudget)
    inflated    one body at a time (Turns)
    parsed      one body at a time, the largest in a thread, so that the loop stays free for single events
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from services.contract.api.encoding import compression_of
from services.contract.api.errors import ApiError, ErrorCode
from services.edge.http.inflate import SEND_FEWER, inflate, inflate_some
from services.edge.http.rate_limit import RateLimit
from services.edge.http.turns import Turns
from services.runtime.byte_budget import BudgetExceededError, ByteBudget
from services.runtime.http import HEADERS_BY_NAME, header, listed_header

T = TypeVar("T")

# text/plain is what navigator.sendBeacon sends for a string.
_MEDIA_TYPES = frozenset({"", "application/json", "text/plain"})
# Larger ones, and all that are compressed, wait for their turn.
_SMALL_BYTES = 16 * 1024
# Larger ones are worked on in a thread; a thread costs some tenths of a millisecond.
_LARGE_BYTES = 1024 * 1024
_LARGE_COMPRESSED_BYTES = 256 * 1024
_RETRY_AFTER_S = 1
NO_LIMIT = RateLimit(0)
_BEGIN_OF_TEXT = (b"{", b"[", b"d", b"")  # JSON, or a form
_NO_BROTLI = (b"{", b"")  # it may begin with any other character of text, and with the first bytes of gzip


class Body:
    """To be used `with`: what waits for its turn gets it when this one is done with."""

    __slots__ = ("_bodies", "_project_id", "_reserved", "data")

    def __init__(self, data: bytes, bodies: "Bodies | None" = None, project_id: str = "", reserved: int = 0) -> None:
        self.data = data
        self._bodies = bodies
        self._project_id = project_id
        self._reserved = reserved

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.data = b""
        if self._bodies is not None:
            self._bodies.done(self._project_id, self._reserved)

    @property
    def is_large(self) -> bool:
        """To be worked on by `in_thread`, lest the loop stands still."""
        return len(self.data) > _LARGE_BYTES

    async def in_thread(self, work: Callable[[bytes], T]) -> T:
        """What `work` makes of it. Others are served meanwhile."""
        if self._bodies is None:
            raise RuntimeError("a small body has no turn to wait for")
        return await self._bodies.in_thread(work, self.data)


class Bodies:
    """Belongs to one event loop."""

    def __init__(self, max_bytes: int, memory: ByteBudget, rate_limit: RateLimit) -> None:
        self._max_bytes = max_bytes
        self._memory = memory
        self._rate_limit = rate_limit
        self._turns = Turns()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")

    def are_under_way(self) -> bool:
        """Whether a body that is not small is being worked on, or waits for its turn."""
        return self._turns.are_taken

    async def read(self, request: Request, project_id: str) -> Body:
        """The decompressed body, at most `max_bytes`. Raises ApiError 400, 413, 415, 429, 503, and ClientDisconnect."""
        _check_media_type(request)
        encoding = _said_encoding(request)
        announced = header(request, b"content-length") or "0"
        if announced.isdecimal() and float(announced) > self._max_bytes:  # float: takes any number of digits
            raise _too_large(self._max_bytes)
        message = await request.receive()  # Starlette's stream() of these costs as much as all else here
        data: bytes = message.get("body", b"")
        is_whole = message["type"] == "http.request" and not message.get("more_body", False)
        if is_whole and len(data) <= _SMALL_BYTES and not encoding:
            self._rate_limit.charge_bytes(project_id, len(data))
            if len(data) > self._max_bytes:
                raise _too_large(self._max_bytes)
            return Body(data)
        return await self._read_slowly(request, message, project_id, encoding)

    async def read_as_sent(self, request: Request, project_id: str | None) -> Body:
        """As `read`, of an SDK: whatever its headers say, its first bytes tell how it is compressed. `project_id` is None
        where the body has the key: nobody is charged then."""
        rate_limit = NO_LIMIT if project_id is None else self._rate_limit
        message = await request.receive()
        data: bytes = message.get("body", b"")
        is_whole = message["type"] == "http.request" and not message.get("more_body", False)
        if is_whole and len(data) <= _SMALL_BYTES and not _encoding_of(request, data):
            rate_limit.charge_bytes(project_id or "", len(data))
            if len(data) > self._max_bytes:
                raise _too_large(self._max_bytes)
            return Body(data)
        return await self._read_slowly(request, message, project_id or "", None, rate_limit)

    async def again(self, data: bytes, project_id: str) -> Body:
        """What was read before, with another turn where it needs one. Raises ApiError 429, 503."""
        if len(data) <= _SMALL_BYTES:
            return Body(data)
        kept = _Incoming(self._memory, NO_LIMIT, project_id, self._max_bytes)
        kept.reserve(len(data))
        try:
            await self._turns.take(project_id)
        except BaseException:
            kept.free()
            raise
        return Body(data, self, project_id, kept.reserved)

    async def _read_slowly(
        self,
        request: Request,
        message: Message,
        project_id: str,
        encoding: str | None,
        rate_limit: RateLimit | None = None,
    ) -> Body:
        rate_limit = rate_limit or self._rate_limit
        incoming = _Incoming(self._memory, rate_limit, project_id, self._max_bytes)
        try:
            data = await incoming.read(request, message)
            await self._turns.take(project_id)
        except BaseException:
            incoming.free()
            raise
        body = Body(data, self, project_id, incoming.reserved)
        if encoding is None:
            encoding = _encoding_of(request, data)
        try:
            if encoding:
                body.data = await self._inflate(data, encoding)
                rate_limit.charge_bytes(project_id, max(0, len(body.data) - len(data)))
        except BaseException:
            body.__exit__(None, None, None)
            raise
        return body

    async def _inflate(self, data: bytes, encoding: str) -> bytes:
        """Nobody knows how large it becomes: what is large is begun again, in the thread. Where so much comes in, it will be,
        or is made to take its time."""
        largest_here = min(_LARGE_BYTES, self._max_bytes)
        if len(data) <= _LARGE_COMPRESSED_BYTES:
            inflated = inflate_some(data, encoding, largest_here)
            if len(inflated) <= largest_here:
                return inflated
            del inflated
        return await self.in_thread(lambda text: inflate(text, encoding, self._max_bytes), data)

    async def in_thread(self, work: Callable[[bytes], T], data: bytes) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, data)
        finally:
            self._turns.rested()

    def done(self, project_id: str, reserved: int) -> None:
        self._memory.free(project_id, reserved)
        self._turns.give_back()


class _Incoming:
    """A body that comes in parts: each part is charged and reserved as it comes."""

    def __init__(self, memory: ByteBudget, rate_limit: RateLimit, project_id: str, max_bytes: int) -> None:
        self._memory = memory
        self._rate_limit = rate_limit
        self._project_id = project_id
        self._max_bytes = max_bytes
        self.reserved = 0

    async def read(self, request: Request, message: Message) -> bytes:
        chunks: list[bytes] = []
        while True:
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk: bytes = message.get("body", b"")
            self._rate_limit.charge_bytes(self._project_id, len(chunk))
            if self.reserved + len(chunk) > self._max_bytes:
                raise _too_large(self._max_bytes)
            self.reserve(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            message = await request.receive()

    def reserve(self, size: int) -> None:
        """Raises ApiError 429 for a project that has its part, 503 where all is taken."""
        try:
            self._memory.reserve(self._project_id, size)
        except BudgetExceededError as error:
            if error.of_project:
                code, whose = ErrorCode.RATE_LIMITED, "of this project are on their way here at once"
            else:
                code, whose = ErrorCode.LOG_UNAVAILABLE, "are on their way to this edge at once"
            message = (
                f"Too many bytes {whose}. Send again, with the same idempotency keys, and fewer large bodies at a time."
            )
            raise ApiError(code, message, retry_after_s=_RETRY_AFTER_S) from error
        self.reserved += size

    def free(self) -> None:
        self._memory.free(self._project_id, self.reserved)


def _said_encoding(request: Request) -> str:
    """What Content-Encoding says, in one line or several: each name once, without those that mean nothing."""
    first = header(request, b"content-encoding")
    if first is None:
        return ""
    said = first if HEADERS_BY_NAME in request.scope else listed_header(request, "content-encoding")
    names = dict.fromkeys(name.strip().lower() for name in said.split(","))
    return ", ".join(name for name in names if name not in ("", "identity"))


def _encoding_of(request: Request, data: bytes) -> str:
    """How a body is compressed, by its first bytes. Brotli and raw deflate have none that tell."""
    said = _said_encoding(request)
    if said == "br" and data[:1] not in _NO_BROTLI:
        return said
    encoding = compression_of(data)
    if encoding is not None:
        return encoding
    return "deflate" if said == "deflate" and data[:1] not in _BEGIN_OF_TEXT else ""


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(ErrorCode.BODY_TOO_LARGE, f"The body is larger than {max_bytes} bytes. {SEND_FEWER}")


def _check_media_type(request: Request) -> None:
    given = header(request, b"content-type") or ""
    if given in _MEDIA_TYPES:
        return
    media_type = given.partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Content-Type `{media_type[:100]}` is not taken. Send application/json."
        )
