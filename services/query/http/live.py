"""GET /events/live and /events/{event_id}: HTTP only, and what is sent to whom.

A stream asks the store every second what was received since, with a look back: events come into sight in another order than
they were received in. What was sent is remembered for so long.
"""

import asyncio
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
from msgspec import Raw, Struct
from prometheus_client import Gauge
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.events import StoredEvent, receipt_of
from services.contract.api.timestamps import microseconds
from services.contract.repeated_names import first_of_each_name
from services.query.http.answers import Answers
from services.query.http.requests import project_of
from services.query.insights.events import find_event, stored_since
from services.query.insights.runner import InsightRunner
from services.query.request.filters import Condition, parse_filter
from services.query.request.time_window import SECOND_US, time_us
from services.runtime.clickhouse import StoreError
from services.runtime.clock import Clock
from services.runtime.http import STOPPING
from services.runtime.keys import KeyCache
from services.runtime.waited_for import while_waited_for

STREAMS = Gauge("headrace_query_live_streams", "Streams of live events that are open.")
MAX_STREAMS, MAX_STREAMS_OF_PROJECT = 50, 10
EVERY_S = 1.0
# A stream ends by itself; clients ask again by themselves, with the last id that they had.
MAX_STREAM_S = 3600.0
MAX_AT_ONCE = 200
LOOK_BACK_US = 120 * SECOND_US
_KEEP_ALIVE_S = 10.0
_RETRY_AFTER_S = 10

_TYPE = "text/event-stream"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_encode = msgspec.json.Encoder().encode
_LINE_ENDS = {b"\r": b" "} | {char.encode(): f"\\u{ord(char):04x}".encode() for char in "\x85\u2028\u2029"}


class Sent(Struct):
    """What a stream has sent: ids by receipt, of the time that is looked back. `newest_us`: the latest receipt, and
    `newest_id` the event that has it; nothing of before `begin_us` is sent."""

    newest_us: int
    begin_us: int
    newest_id: str = ""
    ids: OrderedDict[str, int] = msgspec.field(default_factory=OrderedDict)

    @classmethod
    def of(cls, last_id: str, now_us: int) -> "Sent":
        """Nothing of before now, but where a client goes on behind the last place that it had: see `place`."""
        newest_us = receipt_of(last_id)
        # What is ahead is no clock of ours: a stream from then on would say nothing.
        if newest_us is None or newest_us > now_us + LOOK_BACK_US:
            newest_us = now_us
        begin_us = max(newest_us, now_us - LOOK_BACK_US)
        sent, newest = cls(begin_us, begin_us), _uuid(last_id.partition("-")[2])
        if newest is not None:
            sent.newest_id = str(newest)
            sent.ids[sent.newest_id] = begin_us
        return sent

    @property
    def place(self) -> str:
        """Of all that was sent so far. It never goes back: one that came into sight late would else bring others again."""
        return f"{self.newest_us}-{self.newest_id}" if self.newest_id else str(self.newest_us)

    @property
    def since_us(self) -> int:
        return max(self.newest_us - LOOK_BACK_US, self.begin_us)

    def new(self, events: Sequence[tuple[int, StoredEvent]], *, are_all: bool) -> list[tuple[str, StoredEvent]]:
        """Those that were not sent yet, with the place behind each; from now on they are. Where they are not all, those before
        them stay left out."""
        fresh = [(received, event) for received, event in events if event.event_id not in self.ids]
        if fresh and not are_all:
            self.begin_us = fresh[0][0]
        placed = []
        for received, event in fresh:
            self.ids[event.event_id] = received
            if received >= self.newest_us:
                self.newest_us, self.newest_id = received, event.event_id
            placed.append((self.place, event))
        for event_id in [one for one, received in self.ids.items() if received < self.since_us]:
            del self.ids[event_id]
        return placed


class LiveRoutes:
    """For projects whose key has the scope `query`."""

    def __init__(self, insights: InsightRunner, answers: Answers, keys: KeyCache, clock: Clock) -> None:
        self._insights = insights
        self._answers = answers
        self._keys = keys
        self._clock = clock
        self._streams: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        return [
            Route(f"{BASE_PATH}/events/live", self.live, methods=["GET"]),
            Route(f"{BASE_PATH}/events/{{event_id}}", while_waited_for(self.event), methods=["GET"]),
        ]

    async def event(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        event_id, at_us = _uuid(request.path_params["event_id"]), _timestamp(request.query_params.get("timestamp"))
        found = (
            None
            if event_id is None
            else await self._insights.read(
                project_id, "event", lambda store, _: find_event(store, project_id, event_id, at_us)
            )
        )
        if found is None:
            raise ApiError(ErrorCode.NOT_FOUND, "This project has no such event (any more), or not at that time.")
        return self._answers.json(project_id, found)

    async def live(self, request: Request) -> Response:
        project_id = await project_of(request, self._keys)
        conditions = parse_filter(Raw(first_of_each_name((request.query_params.get("filter") or "null").encode())))
        sent = Sent.of(request.headers.get("last-event-id", ""), microseconds(self._clock()))
        if self._streams.total() >= MAX_STREAMS or self._streams[project_id] >= MAX_STREAMS_OF_PROJECT:
            raise ApiError(
                ErrorCode.RATE_LIMITED,
                f"At most {MAX_STREAMS_OF_PROJECT} streams of a project are open at once, and {MAX_STREAMS} in all. Close one.",
                retry_after_s=_RETRY_AFTER_S,
            )
        if request.method == "HEAD":
            return Response(media_type=_TYPE, headers=_HEADERS)
        # Counted before anything is waited for: else many that come at once would all find room.
        self._streams[project_id] += 1
        return _Stream(self._stream(request, project_id, conditions, sent), lambda: self._ended(project_id))

    def _ended(self, project_id: str) -> None:
        self._streams[project_id] -= 1
        if not self._streams[project_id]:
            del self._streams[project_id]

    async def _may_read(self, request: Request, project_id: str) -> bool:
        """Whether the key that a stream was opened with is still one of its project: it may be revoked meanwhile."""
        try:
            return await project_of(request, self._keys) == project_id
        except ApiError:
            return False

    async def _stream(
        self, request: Request, project_id: str, conditions: list[Condition], sent: Sent
    ) -> AsyncIterator[bytes]:
        end, spoke = time.monotonic() + MAX_STREAM_S, time.monotonic()
        with STREAMS.track_inprogress():
            # With a place from the beginning: a stream that breaks before its first event goes on, too.
            yield b": live\nretry: 1000\nid: %b\n\n" % sent.place.encode()
            while time.monotonic() < end and not STOPPING.is_set() and await self._may_read(request, project_id):
                text = await self._look(project_id, conditions, sent)
                if text:
                    yield text
                    spoke = time.monotonic()
                elif time.monotonic() - spoke > _KEEP_ALIVE_S:
                    yield b": still there\n\n"
                    spoke = time.monotonic()
                await asyncio.sleep(EVERY_S)

    async def _look(self, project_id: str, conditions: list[Condition], sent: Sent) -> bytes:
        """A store that is away, or a project that asks too much at once, makes a stream late; it goes on by itself.

        What was sent is left out by the store: else one that comes into sight late would have no place among the last so many
        of a busy project."""
        since_us, without = sent.since_us, list(sent.ids)
        try:
            events, more = await self._insights.read(
                project_id,
                "live",
                lambda store, promoted: stored_since(
                    store, project_id, since_us, conditions, MAX_AT_ONCE, promoted, without
                ),
            )
        except (StoreError, ApiError):
            return b""
        lines = [b'event: gap\ndata: {"more_than":%d}\n\n' % len(events)] if more else []
        for place, event in sent.new(events, are_all=not more):
            data = _one_line(_encode(event))
            lines.append(b"id: %b\nevent: event\ndata: %b\n\n" % (place.encode(), data))
        return b"".join(lines)


class _Stream(StreamingResponse):
    """Says when it has ended, also where its client has gone before its first part."""

    def __init__(self, parts: AsyncIterator[bytes], ended: Callable[[], None]) -> None:
        super().__init__(parts, media_type=_TYPE, headers=_HEADERS)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def _one_line(data: bytes) -> bytes:
    """JSON for readers of lines. A carriage return ends a line of a stream; in JSON it is a blank: in texts it is escaped. The
    others end none, but Python's readers of lines, and those of its HTTP clients, take them for ends; they stand in texts."""
    for char, written in _LINE_ENDS.items():
        data = data.replace(char, written)
    return data


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _timestamp(text: str | None) -> int | None:
    if not text:
        return None
    try:
        return time_us(text)
    except ValueError as error:
        raise ApiError(
            ErrorCode.INVALID_TIMESTAMP,
            "`timestamp` is not a date and time: send it as the event has it.",
            field="timestamp",
        ) from error
