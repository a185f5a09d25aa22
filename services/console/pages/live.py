"""/console/live: events as they come in, and one event."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from services.console.frame.api import AnswerError, part, problem_of
from services.console.frame.curl import curl_line
from services.console.frame.frame import Frame, Visit, is_for_script, query_of
from services.console.frame.headers import PARTIAL, page_headers
from services.console.results.result import missing_of
from services.console.views.live import (
    OPERATORS,
    RECENT,
    SHOWN_EVENTS,
    LiveFilter,
    events_since,
    latest_events,
    looked_back,
    newest_first,
    recent_events,
)
from services.contract.api.catalog import CatalogResult
from services.contract.api.events import EventsResult, StoredEvent
from services.contract.api.ingest import Accepted
from services.contract.api.root_paths import CONSOLE_PATH
from services.contract.api.timestamps import microseconds
from services.runtime.clock import utc_now
from services.runtime.http import STOPPING

TEST_EVENT = {"event": "test_event", "distinct_id": "console", "properties": {"from": "console", "amount": 19.99}}
_RETRY = b"retry: 10000\n"


class LivePages:
    """The list as it is now, the stream of what comes, and the button that sends an event."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [
            self._frame.page("/live", self.live),
            self._frame.page("/live/stream", self.stream),
            self._frame.page("/live/since", self.since),
            self._frame.page("/live/test", self.send_test, ("POST",)),
            self._frame.page("/event", self.event),
        ]

    async def live(self, visit: Visit) -> Response:
        live, now = LiveFilter.of(visit.query), utc_now()
        body = recent_events(live, now)
        problem, found, is_old, names = None, EventsResult(events=[]), False, list[str]()
        try:
            found = await visit.api.post("/query/events", body, EventsResult)
            if not found.events:
                body, is_old = latest_events(live, now), True
                found = await visit.api.post("/query/events", body, EventsResult)
            catalog = await visit.api.post("/query/catalog", {"limit": 200}, CatalogResult)
            names = [event.event for event in catalog.events]
        except AnswerError as error:
            if error.status != 400:
                raise
            problem = error
        return self._frame.show(
            visit,
            "live.html",
            live=live,
            operators=OPERATORS,
            names=names,
            events=newest_first(found.events),
            missing=missing_of(found),
            is_old=is_old,
            recent=RECENT,
            problem=problem,
            sent="sent" in visit.query,
            after=microseconds(now),
            most=SHOWN_EVENTS,
            address=query_of(live.for_address()),
            curl=curl_line(visit.base_url, "POST", "/query/events", body),
            stream_curl=curl_line(visit.base_url, "GET", "/events/live", params=_stream_params(live)).replace(
                "curl ", "curl -N ", 1
            ),
            test_curl=curl_line(visit.base_url, "POST", "/track", TEST_EVENT),
        )

    async def stream(self, visit: Visit) -> Response:
        last = visit.request.headers.get("last-event-id") or visit.query.get("after", "")
        text = self._passed_on(visit, _stream_params(LiveFilter.of(visit.query)), looked_back(last))
        headers = {**page_headers(), "x-accel-buffering": "no"}
        return StreamingResponse(text, headers=headers, media_type="text/event-stream")

    async def _passed_on(self, visit: Visit, params: dict[str, str], last: str) -> AsyncIterator[bytes]:
        """What the API says, as it comes. A refusal is said in the page, and asked for again later."""
        try:
            async with visit.api.stream("/events/live", params, last) as answer:
                if answer.status_code >= 400:
                    problem = problem_of(answer.status_code, await answer.aread())
                    yield _RETRY + b"event: problem\ndata: %b\n\n" % msgspec.json.encode(problem.message)
                    return
                async for piece in answer.aiter_bytes():
                    yield piece
                    if STOPPING.is_set():
                        return
        except httpx.HTTPError:
            yield _RETRY + b'event: problem\ndata: "The API does not answer now."\n\n'

    async def since(self, visit: Visit) -> Response:
        """What was received since `after`, for a page that has no stream; some of it again."""
        body = events_since(LiveFilter.of(visit.query), visit.query.get("after", ""), utc_now())
        found = await visit.api.post("/query/events", body, EventsResult)
        text = msgspec.json.encode(sorted(found.events, key=lambda event: event.received_at))
        headers = page_headers() | ({PARTIAL: "true"} if missing_of(found) else {})
        return Response(text, headers=headers, media_type="application/json")

    async def send_test(self, visit: Visit) -> Response:
        await visit.api.post("/track", TEST_EVENT, Accepted)
        if is_for_script(visit.request):
            return Response(status_code=204, headers=page_headers())
        return RedirectResponse(f"{CONSOLE_PATH}/live?sent=1", 303, page_headers())

    async def event(self, visit: Visit) -> Response:
        path = f"/events/{part(visit.query.get('id', ''))}"
        params = {"timestamp": visit.query.get("timestamp", "")}
        event = await visit.api.get(path, StoredEvent, params)
        curl = curl_line(visit.base_url, "GET", path, params=params)
        return self._frame.show(visit, "event.html", event=event, curl=curl)


def _stream_params(live: LiveFilter) -> dict[str, Any]:
    conditions = live.for_api()
    return {"filter": msgspec.json.encode(conditions).decode()} if conditions else {}
