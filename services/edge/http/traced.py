"""Around the edge where traces are on: a span for a part of the requests, and one for what each waits for the log."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import EventLine, IdentityLine
from services.edge.event_log.port import EventLog, Packed
from services.runtime.http import call_of
from services.runtime.traces import CURRENT, PRODUCER, SERVER, Traces


class TracedCalls:
    """The application, with a span around sampled requests that bring something."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        parent = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
        if not self._traces.is_sampled(parent):
            await self._app(scope, receive, send)
            return
        await self._trace(parent, scope, receive, send)

    async def _trace(self, parent: bytes | None, scope: Scope, receive: Receive, send: Send) -> None:
        call = call_of(scope["path"])
        span = self._traces.begin(
            f"POST {call}", SERVER, parent, http__request__method="POST", http__route=call, url__scheme=scope["scheme"]
        )

        async def send_and_look(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attributes({"http.response.status_code": message["status"]})
            await send(message)

        before = CURRENT.set(self._traces.parent_of(span))
        try:
            await self._app(scope, receive, send_and_look)
        finally:
            CURRENT.reset(before)
            span.end()


class TracedLog:
    """An event log, with a span around each append of a traced request. Records carry the span's own name: what becomes
    of them in a worker is its child."""

    def __init__(self, log: EventLog, traces: Traces) -> None:
        self._log = log
        self._traces = traces

    async def append_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> None:
        with self._span("append events", len(lines)):
            await self._log.append_events(ids, lines)

    def pack_events(self, ids: Sequence[bytes], lines: Sequence[EventLine]) -> Packed:
        return self._log.pack_events(ids, lines)

    async def append_packed(self, records: Packed) -> None:
        with self._span("append events", sum(envelope.count for _, _, envelope in records)):
            await self._log.append_packed(records)

    async def append_identity(self, ids: Sequence[bytes], lines: Sequence[IdentityLine]) -> None:
        with self._span("append identity", len(lines)):
            await self._log.append_identity(ids, lines)

    @contextmanager
    def _span(self, name: str, messages: int) -> Iterator[None]:
        parent = CURRENT.get()
        if parent is None:
            yield
            return
        span = self._traces.begin(name, PRODUCER, parent, messaging__batch__message_count=messages)
        before = CURRENT.set(self._traces.parent_of(span))
        try:
            yield
        finally:
            CURRENT.reset(before)
            span.end()

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self._log.append_dead_letters(letters)

    async def is_ready(self) -> bool:
        return await self._log.is_ready()
