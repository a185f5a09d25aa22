"""One HTTP answer in ClickHouse's form: whole, or piece by piece with an error block when it fails on the way."""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from services.devstack.clickhouse.compression import encoder_for
from services.devstack.clickhouse.engine import Answer

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_CONTENT_TYPES = {
    "json": "application/json; charset=UTF-8",
    "jsoncompact": "application/json; charset=UTF-8",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8",
    "csvwithnames": "text/csv; charset=UTF-8",
    "native": "application/octet-stream",
    "rowbinary": "application/octet-stream",
}
_TEXT = "text/plain; charset=UTF-8"
_TABS = "text/tab-separated-values; charset=UTF-8"
# Written in pieces, so that a slow reader does not make the server hold a second copy of a large answer.
_PIECE_BYTES = 1024 * 1024


class Reply:
    """`headers` are those known so far. `accept_encoding` is empty when the client did not ask for compression."""

    def __init__(self, send: Send, headers: dict[str, str], accept_encoding: str = "") -> None:
        self._send = send
        self._headers = headers
        self._tag = secrets.token_hex(8)
        chosen = encoder_for(accept_encoding)
        self._encoder = chosen[1] if chosen else None
        if chosen:
            self._headers["content-encoding"] = chosen[0]

    async def whole(self, answer: Answer) -> None:
        body = answer.body
        if self._encoder is not None:
            body = self._encoder.encode(body) + self._encoder.finish()
        self._headers |= {"x-clickhouse-summary": answer.summary, "content-length": str(len(body))}
        await self._start(200, answer.format)
        view = memoryview(body)
        for at in range(_PIECE_BYTES, len(view), _PIECE_BYTES):
            await self._body(bytes(view[at - _PIECE_BYTES : at]), more=True)
        await self._body(bytes(view[(max(len(view), 1) - 1) // _PIECE_BYTES * _PIECE_BYTES :]), more=False)

    async def begin(self, format_name: str) -> None:
        self._headers["x-clickhouse-exception-tag"] = self._tag
        await self._start(200, format_name)

    async def piece(self, data: bytes) -> None:
        encoded = data if self._encoder is None else self._encoder.encode(data)
        if encoded:
            await self._body(encoded, more=True)

    async def end(self) -> None:
        await self._body(b"" if self._encoder is None else self._encoder.finish(), more=False)

    async def break_off(self, text: str) -> None:
        """Tell the error in the body, then leave it unfinished: the server closes the connection."""
        block = f"\r\n__exception__\r\n{self._tag}\r\n{text}\r\n{len(text)} {self._tag}\r\n__exception__\r\n"
        await self.piece(block.encode(errors="surrogateescape"))
        if self._encoder is not None:
            await self._body(self._encoder.finish(), more=True)

    async def error(self, status: int, code: int, text: str) -> None:
        self._headers.pop("content-encoding", None)
        self._headers["x-clickhouse-exception-code"] = str(code)
        body = text.encode(errors="surrogateescape")
        self._headers["content-length"] = str(len(body))
        await self._start(status, None)
        await self._body(body, more=False)

    async def _start(self, status: int, format_name: str | None) -> None:
        self._headers["content-type"] = _TEXT
        if format_name is not None:
            self._headers["x-clickhouse-format"] = format_name
            self._headers["content-type"] = _CONTENT_TYPES.get(format_name.lower(), _TABS)
        raw = [(k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in self._headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
