"""/console/<kind>/people: the people, or groups, behind a number."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.console.frame.curl import curl_line
from services.console.frame.frame import Frame, Visit
from services.console.frame.headers import page_headers, table_headers
from services.console.queries.asked import Asked, asked_of
from services.console.queries.cells import CELL, read_cell, said_of
from services.console.queries.kinds import KINDS, Kind
from services.console.queries.params import Pairs, Params
from services.console.queries.windows import as_counted, said_again
from services.console.results.numbers import shown
from services.contract.api.people import PeopleResult
from services.contract.api.root_paths import CONSOLE_PATH

_PEOPLE = "/query/people"
_CURSOR = "cursor"
_MAX_COLUMNS = 8
Traits = dict[str, msgspec.Raw]


class BehindPages:
    """A page of them at a time."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        found = []
        for kind in KINDS.values():
            found += [
                self._frame.page(f"/{kind.page}/people", partial(self.people, kind)),
                self._frame.page(f"/{kind.page}/people.csv", partial(self.table, kind)),
            ]
        return found

    async def people(self, kind: Kind, visit: Visit) -> Response:
        asked, body = _query(kind, visit)
        if body is None:
            return _to_builder(asked)
        result = await visit.api.post(_PEOPLE, body, PeopleResult)
        which, said = visit.query.get(CELL, ""), _said(visit)
        rows = _rows(result)
        return self._frame.show(
            visit,
            "behind.html",
            kind=kind,
            asked=asked,
            said=said_of(which),
            result=result,
            rows=rows,
            columns=_columns([traits for _, traits in rows]),
            group_type=None if result.groups is msgspec.UNSET else asked.body and asked.body.get("aggregate_by"),
            trait=_trait,
            builder=f"{CONSOLE_PATH}/{kind.page}?{Params(said_again(said)).query()}",
            csv=_address(kind, said, which, "people.csv"),
            more=None
            if result.next_cursor is msgspec.UNSET
            else _address(kind, said, which, "people", result.next_cursor),
            curl=curl_line(
                visit.base_url, "POST", _PEOPLE, {name: said for name, said in body.items() if name != _CURSOR}
            ),
        )

    async def table(self, kind: Kind, visit: Visit) -> Response:
        asked, body = _query(kind, visit)
        if body is None:
            return _to_builder(asked)
        answer = await visit.api.send("POST", _PEOPLE, {**body, "limit": 1000}, "text/csv")
        return Response(answer.content, headers=table_headers("people", answer.headers), media_type="text/csv")


def _query(kind: Kind, visit: Visit) -> tuple[Asked, dict[str, Any] | None]:
    asked = asked_of(kind, as_counted(_said(visit)))
    if asked.body is None:
        return asked, None
    body: dict[str, Any] = {"query": {"type": kind.name, **asked.body}, "cell": read_cell(visit.query.get(CELL, ""))}
    if visit.query.get(_CURSOR):
        body["cursor"] = visit.query[_CURSOR]
    return asked, body


def _said(visit: Visit) -> Pairs:
    """The query, as the address says it."""
    return [pair for pair in visit.fields if pair[0] not in (CELL, _CURSOR)]


def _to_builder(asked: Asked) -> Response:
    return RedirectResponse(f"{CONSOLE_PATH}/{asked.kind.page}?{asked.address}", 303, page_headers())


def _address(kind: Kind, pairs: Pairs, which: str, page: str, cursor: str = "") -> str:
    more: Pairs = [(CELL, which)] + ([(_CURSOR, cursor)] if cursor else [])
    return f"{CONSOLE_PATH}/{kind.page}/{page}?{urlencode([*pairs, *more])}"


def _rows(result: PeopleResult) -> list[tuple[str, Traits]]:
    if result.groups is not msgspec.UNSET:
        return [(one.group_key, one.traits) for one in result.groups]
    return [(one.person_id, one.traits) for one in result.people]


def _columns(traits: list[Traits]) -> list[str]:
    """The traits that most of them have."""
    counts: dict[str, int] = {}
    for one in traits:
        for name in one:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))[:_MAX_COLUMNS]


def _trait(traits: Traits, name: str) -> str:
    return shown(msgspec.json.decode(bytes(traits[name]))) if name in traits else ""
