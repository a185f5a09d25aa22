"""/console/: where one goes first. What there is to ask about, how to ask, and what was kept."""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from starlette.responses import Response
from starlette.routing import Route

from services.console.frame.curl import curl_line
from services.console.frame.frame import Frame, Visit
from services.console.pages.builders import dashboards_of
from services.console.queries.kinds import KINDS
from services.console.queries.parts import Body
from services.contract.api.catalog import CatalogEvent, CatalogResult
from services.contract.api.root_paths import CONSOLE_PATH

_EVENTS = 8
_DASHBOARDS = 8


class Start(Struct, frozen=True):
    """A query to begin with."""

    title: str
    about: str
    address: str


class HomePages:
    """The first page of the console."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [self._frame.page("/", self.home)]

    async def home(self, visit: Visit) -> Response:
        catalog, boards = await asyncio.gather(
            visit.api.post("/query/catalog", {"limit": _EVENTS}, CatalogResult), dashboards_of(visit)
        )
        names = [one.event for one in catalog.events]
        return self._frame.show(
            visit,
            "home.html",
            events=[(one, _trend_of(one)) for one in catalog.events],
            dashboards=boards[:_DASHBOARDS],
            starts=[Start(kind.title, about, _address(kind.name, make(names))) for kind, about, make in _starts()],
            curl=curl_line(visit.base_url, "POST", "/query/catalog", {"limit": _EVENTS}),
        )


def _trend_of(event: CatalogEvent) -> str:
    return _address("trends", {"series": [{"event": event.event}], "last": "30d"})


def _address(kind: str, body: Body | None) -> str:
    page = f"{CONSOLE_PATH}/{KINDS[kind].page}"
    return page if body is None else f"{page}?{KINDS[kind].params(body).query()}"


def _starts() -> list[tuple[Any, str, Callable[[list[str]], Body | None]]]:
    return [
        (KINDS["trends"], "People a day who did anything, beside the 30 days before", _people_a_day),
        (KINDS["funnel"], "How many take several steps one after another", lambda names: None),
        (KINDS["retention"], "Who comes back, week by week", _weekly),
        (KINDS["path"], "What people do after your most frequent event", _after),
        (KINDS["cohort"], "People who did something, or have a trait", lambda names: None),
    ]


def _people_a_day(names: list[str]) -> Body:
    return {"series": [{"event": None, "measure": "people"}], "last": "30d", "compare": "previous"}


def _weekly(names: list[str]) -> Body:
    return {"born_event": None, "return_event": None, "last": "8w", "interval": "week"}


def _after(names: list[str]) -> Body | None:
    return {"start_event": names[0], "last": "30d", "max_depth": 3, "top": 5} if names else None
