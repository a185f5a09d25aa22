"""/console/: where one goes first. What to do first, what there is to ask about, how to ask, and what was kept."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from starlette.responses import Response
from starlette.routing import Route

from services.console.frame.curl import curl_line
from services.console.frame.frame import Frame, Visit
from services.console.pages.builders import dashboards_of
from services.console.queries.kinds import KINDS, Kind
from services.console.queries.parts import Body
from services.console.queries.windows import ALL_TIME
from services.contract.api.catalog import CatalogEvent, CatalogResult
from services.contract.api.root_paths import CONSOLE_PATH

_EVENTS = 20
_DASHBOARDS = 8
# Of data that is older the last days would show nothing.
_FRESH = timedelta(days=30)
Made = Callable[[list[str]], Body | None]


class Start(Struct, frozen=True):
    """A query to begin with."""

    title: str
    about: str
    address: str


class Step(Struct, frozen=True):
    """What somebody does first, with where: `is_done` once its mark is there."""

    title: str
    about: str
    address: str
    is_done: bool = False


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
        names, is_old = [one.event for one in catalog.events], _is_old(catalog.events)
        starts = [Start(kind.title, about, _address(kind.name, make(names), is_old)) for kind, about, make in _starts()]
        return self._frame.show(
            visit,
            "home.html",
            steps=_steps(catalog.events, bool(boards), _address("retention", _weekly(names), is_old)),
            events=[(one, *_of_event(one)) for one in catalog.events],
            dashboards=boards[:_DASHBOARDS],
            starts=starts,
            curl=curl_line(visit.base_url, "POST", "/query/catalog", {"limit": _EVENTS}),
        )


def _is_old(events: list[CatalogEvent]) -> bool:
    return bool(events) and max(one.last_seen for one in events) < datetime.now(UTC) - _FRESH


def _of_event(one: CatalogEvent) -> tuple[str, str]:
    """How often it happens, and who does it again."""
    is_old = _is_old([one])
    return _address("trends", _trend(one.event), is_old), _address("retention", _back(one.event), is_old)


def _steps(events: list[CatalogEvent], has_board: bool, ask: str) -> list[Step]:
    """Nothing where all is done."""
    steps = [
        Step("Send an event", "Lines to copy, and a check that turns green.", f"{CONSOLE_PATH}/setup", bool(events)),
        Step("Ask something", "Who comes back week by week? Press a number to see the people behind it.", ask),
        Step("Keep it", "“Save to dashboard” stands above each answer.", f"{CONSOLE_PATH}/dashboards", has_board),
        Step("Show it", "The address holds the query: send it to a colleague, who signs in with a key.", ""),
    ]
    return [] if events and has_board else steps


def _address(kind: str, body: Body | None, is_old: bool) -> str:
    """About the last days, or all time where the data is old."""
    page = f"{CONSOLE_PATH}/{KINDS[kind].page}"
    if body is None:
        return page
    if not is_old:
        return f"{page}?{KINDS[kind].params(body).query()}"
    timeless = {name: value for name, value in body.items() if name not in ("last", "compare")}
    return f"{page}?{KINDS[kind].params(timeless).plus(('range', ALL_TIME)).query()}"


def _starts() -> list[tuple[Kind, str, Made]]:
    return [
        (KINDS["trends"], "How many people a day did anything", _people_a_day),
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


def _trend(event: str) -> Body:
    return {"series": [{"event": event}], "last": "30d"}


def _back(event: str) -> Body:
    """With the same event: buyers who buy again."""
    return {"born_event": event, "return_event": event, "last": "8w", "interval": "week"}
