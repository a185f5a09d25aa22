"""/console/setup: how to send, and whether something has come in."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from services.console.frame.frame import Frame, Visit
from services.console.results.result import missing_of
from services.console.views.live import LiveFilter, latest_events
from services.console.views.setup import SDK_KEY, snippets
from services.contract.api.events import EventsResult
from services.runtime.clock import utc_now


class SetupPages:
    """Lines with this address; the key stands in them only when it is asked for."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [self._frame.page("/setup", self.setup), self._frame.page("/setup/check", self.check)]

    async def setup(self, visit: Visit) -> Response:
        has_key = visit.session.can_send and visit.query.get("key") == "shown"
        return self._frame.show(
            visit,
            "setup.html",
            snippets=snippets(visit.base_url, visit.session.key if has_key else ""),
            has_key=has_key,
            sdk_key=SDK_KEY,
            **await _latest(visit),
        )

    async def check(self, visit: Visit) -> Response:
        """The check alone, for the page's script."""
        return self._frame.show(visit, "setup_check.html", **await _latest(visit))


async def _latest(visit: Visit) -> dict[str, Any]:
    body = {**latest_events(LiveFilter(), utc_now()), "limit": 1}
    found = await visit.api.post("/query/events", body, EventsResult)
    return {"event": found.events[0] if found.events else None, "missing": missing_of(found)}
