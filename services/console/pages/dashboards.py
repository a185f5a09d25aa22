"""/console/dashboards: tiles of saved queries, in an order and with widths, under one time range.

The page comes at once; each tile then asks for its own answer. Without script, `?all=1` has all answers in the page.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.console.frame.api import AnswerError, part
from services.console.frame.curl import curl_line
from services.console.frame.frame import Frame, Visit
from services.console.frame.headers import page_headers
from services.console.pages.all_time import exact, in_days
from services.console.pages.answers import Answered, answer_of
from services.console.pages.choices import CHOICES
from services.console.queries.asked import asked_of
from services.console.queries.kinds import KINDS, has_buckets
from services.console.queries.params import is_number
from services.console.queries.tiles import WIDTHS, Tile, moved, range_of, saved_query, tile_of
from services.console.queries.windows import lasting
from services.contract.api.dashboards import Dashboard, DashboardList, Deleted
from services.contract.api.root_paths import CONSOLE_PATH

_HOME = f"{CONSOLE_PATH}/dashboards"
_AT_ONCE = 4
_TRIES = 5
_COPY = " (copy)"
_MAX_NAME_CHARS = 200
Queries = list[dict[str, Any]]


class DashboardPages:
    """Changes are made to what the API has now: somebody else's change in between is refused by it, and said."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page = self._frame.page
        return [
            page("/dashboards", self.all),
            page("/dashboards/create", self.create, ("POST",)),
            page("/dashboards/save", self.save, ("POST",)),
            page("/dashboards/tiles", self.tile, ("POST",), only_reads=True),
            page("/dashboards/{dashboard_id}", self.one),
            page("/dashboards/{dashboard_id}/change", self.change, ("POST",)),
        ]

    async def all(self, visit: Visit) -> Response:
        cursor = visit.query.get("cursor", "")
        page = await visit.api.get("/dashboard/list", DashboardList, {"cursor": cursor})
        more = None if page.next_cursor is msgspec.UNSET else page.next_cursor
        curl = curl_line(visit.base_url, "GET", "/dashboard/list", params={"cursor": cursor})
        return self._frame.show(visit, "dashboards.html", dashboards=page.items, more=more, curl=curl)

    async def one(self, visit: Visit) -> Response:
        board = await _read(visit)
        params, window = range_of(visit.fields)
        tiles = [tile_of(query, i, window) for i, query in enumerate(_queries(board))]
        run = {name: value for name, value in (await in_days(visit, window)).items() if name != "interval"}
        answers = await _answers(visit, tiles) if visit.query.get("all") else []
        return self._frame.show(
            visit,
            "dashboard.html",
            board=board,
            tiles=tiles,
            answers=answers,
            p=params,
            range_query=params.query(),
            choices=CHOICES,
            widths=WIDTHS,
            wrong=None,
            curl=curl_line(visit.base_url, "POST", f"/dashboard/run/{part(board.dashboard_id)}", run),
        )

    async def tile(self, visit: Visit) -> Response:
        """A part of a page, for its module. It sends the query that the page has: the dashboard is not read once more."""
        try:
            query = msgspec.json.decode(visit.form.get("query", ""), type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise AnswerError(400, "invalid_field", "This tile has no query. Load the page again.") from error
        answered = await answer_of(visit, tile_of(query, 0, {}).asked)
        return self._frame.show(visit, "tile.html", answered=answered)

    async def create(self, visit: Visit) -> Response:
        board = await _create(visit, visit.form.get("name", ""), [])
        return _to(board)

    async def save(self, visit: Visit) -> Response:
        """A query onto a dashboard that is there, or a new one."""
        kind = KINDS.get(visit.form.get("kind", ""))
        asked = None if kind is None else asked_of(kind, _pairs(visit.form.get("query", "")))
        if kind is None or asked is None or asked.body is None:
            raise AnswerError(400, "invalid_field", "There is no query to save. Ask one first.")
        now = await exact(visit, asked)
        body = lasting(asked.body, (now.body or {}).get("interval")) if has_buckets(kind) else asked.body
        query = saved_query(kind, body, visit.form.get("title", "").strip() or now.title[:_MAX_NAME_CHARS])
        dashboard_id = visit.form.get("dashboard", "")
        if not dashboard_id:
            name = visit.form.get("name", "").strip()
            if not name:
                raise AnswerError(400, "invalid_field", "A new dashboard needs a name. Go back, and write one.")
            return _to(await _create(visit, name, [query]))
        return _to(await _with_tile(visit, dashboard_id, query))

    async def change(self, visit: Visit) -> Response:
        """One button of the page. `version`: what the page had read."""
        board = await _read(visit)
        action, _, of = visit.form.get("do", "").partition(":")
        if action == "delete":
            await visit.api.call("DELETE", f"/dashboard/delete/{part(board.dashboard_id)}", Deleted)
            return RedirectResponse(_HOME, 303, page_headers())
        if action == "duplicate":
            name = board.name[: _MAX_NAME_CHARS - len(_COPY)] + _COPY
            return _to(await _create(visit, name, _queries(board)))
        name, queries = _changed(visit.form, board, action, int(of) if is_number(of) else -1)
        read = visit.form.get("version", "")
        version = int(read) if is_number(read) else board.version
        await _update(visit, board, name, queries, version)
        return _to(board, visit.form.get("range_query", ""))


def _changed(form: dict[str, str], board: Dashboard, action: str, number: int) -> tuple[str, Queries]:
    queries = _queries(board)
    if action == "rename":
        return form.get("name", "").strip(), queries
    if not 0 <= number < len(queries):
        raise AnswerError(404, "not_found", "This tile was removed. Load the page again.")
    if action in ("up", "down"):
        return board.name, moved(queries, number, -1 if action == "up" else 1)
    if action == "remove":
        return board.name, queries[:number] + queries[number + 1 :]
    changes: dict[str, Any] = {"title": form.get(f"title.{number}", "").strip()}
    width = form.get(f"width.{number}", "")
    if is_number(width):
        changes["width"] = int(width)
    queries[number] |= changes
    return board.name, queries


async def _read(visit: Visit) -> Dashboard:
    """The API knows no other project's dashboards: 404."""
    return await visit.api.get(f"/dashboard/get/{part(visit.request.path_params['dashboard_id'])}", Dashboard)


def _queries(board: Dashboard) -> Queries:
    return [msgspec.json.decode(bytes(query)) for query in board.queries]


async def _create(visit: Visit, name: str, queries: Queries) -> Dashboard:
    return await visit.api.post("/dashboard/create", {"name": name.strip(), "queries": queries}, Dashboard)


async def _update(visit: Visit, board: Dashboard, name: str, queries: Queries, version: int) -> Dashboard:
    body = {"name": name, "queries": queries, "version": version}
    return await visit.api.call("PUT", f"/dashboard/update/{part(board.dashboard_id)}", Dashboard, body)


async def _with_tile(visit: Visit, dashboard_id: str, query: dict[str, Any]) -> Dashboard:
    """Somebody else's change in between is no reason to refuse one tile more: it is put behind what is there then."""
    tries = _TRIES
    while True:
        board = await visit.api.get(f"/dashboard/get/{part(dashboard_id)}", Dashboard)
        try:
            return await _update(visit, board, board.name, [*_queries(board), query], board.version)
        except AnswerError as error:
            tries -= 1
            if error.code != "conflict" or not tries:
                raise


async def _answers(visit: Visit, tiles: list[Tile]) -> list[Answered]:
    """Some at a time: a project has so many turns."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def answer(tile: Tile) -> Answered:
        async with turns:
            return await answer_of(visit, tile.asked)

    return list(await asyncio.gather(*map(answer, tiles)))


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _to(board: Dashboard, query: str = "") -> Response:
    params, _ = range_of(_pairs(query))
    address = f"{_HOME}/{part(board.dashboard_id)}" + (f"?{params.query()}" if params else "")
    return RedirectResponse(address, 303, page_headers())
