"""/console/trends, funnel, retention, paths, cohorts: a form, and what it asks for.

The address holds the whole query. A page without one shows the form alone.
"""

import asyncio
from functools import partial
from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.console.frame.api import AnswerError, part
from services.console.frame.frame import Frame, Visit, is_for_script
from services.console.frame.headers import page_headers, table_headers
from services.console.pages.all_time import exact
from services.console.pages.answers import Answered, answer_of, curl_of
from services.console.pages.choices import CHOICES
from services.console.pages.empty import borders_of, nothing_of
from services.console.pages.suggestions import Suggested, suggested
from services.console.queries.asked import asked_of
from services.console.queries.edits import DO
from services.console.queries.kinds import KINDS, Kind
from services.contract.api.cohorts import CohortInfo, CohortList
from services.contract.api.dashboards import Dashboard, DashboardList, Deleted
from services.contract.api.root_paths import CONSOLE_PATH

# What stands in the part of the form that is folded: a field that is wrong opens it.
_MORE = ("week_start", "top", "mode", "min", "people_of_step", "gap", "compare", "tz", "whole")


class BuilderPages:
    """One page a kind of query; its answer also as JSON and CSV."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        found = []
        for kind in KINDS.values():
            found += [
                self._frame.page(f"/{kind.page}", partial(self.builder, kind)),
                self._frame.page(f"/{kind.page}/json", partial(self.download, kind, "application/json")),
                self._frame.page(f"/{kind.page}/csv", partial(self.download, kind, "text/csv")),
            ]
        return [
            *found,
            self._frame.page("/cohorts/save", self.save_cohort, ("POST",)),
            self._frame.page("/cohorts/delete", self.delete_cohort, ("POST",)),
        ]

    async def builder(self, kind: Kind, visit: Visit) -> Response:
        asked = asked_of(kind, visit.fields)
        # A module that changes the form has the suggestions already: nothing is asked for it.
        changes_form = DO in visit.query and is_for_script(visit.request)
        answered, hints, boards, cohorts = await asyncio.gather(
            answer_of(visit, asked),
            _nothing() if changes_form else suggested(visit, asked.params),
            dashboards_of(visit) if asked.body else _none(),
            _saved(visit) if kind.name == "cohort" and not changes_form else _none(),
        )
        return self._show(visit, answered, hints, boards, cohorts)

    def _show(
        self,
        visit: Visit,
        answered: Answered,
        hints: Suggested,
        boards: list[Dashboard],
        cohorts: list[CohortInfo],
    ) -> Response:
        asked = answered.asked
        return self._frame.show(
            visit,
            f"builder_{asked.kind.name}.html",
            kind=asked.kind,
            asked=asked,
            p=asked.form,
            wrong=asked.wrong,
            shown=answered.shown,
            exact=answered.exact,
            borders=borders_of(asked, hints),
            curl=curl_of(visit, answered.exact) if asked.body is not None else "",
            hints=hints,
            dashboards=boards,
            cohorts=cohorts,
            cohort_names={one.name: KINDS["cohort"].params({"cohort": {"saved": one.name}}).query() for one in cohorts},
            more_places=_MORE,
            nothing=nothing_of(answered.exact, answered.shown, hints),
            choices=CHOICES,
        )

    async def download(self, kind: Kind, media_type: str, visit: Visit) -> Response:
        """The API's own answer. A page where the query is wrong."""
        asked = asked_of(kind, visit.fields)
        if asked.body is None:
            return RedirectResponse(f"{CONSOLE_PATH}/{kind.page}?{asked.address}", 303, page_headers())
        body = (await exact(visit, asked)).body or {}
        answer = await visit.api.send("POST", f"/query/{kind.name}", body, media_type)
        headers = table_headers(kind.page, answer.headers) if media_type == "text/csv" else page_headers()
        return Response(answer.content, headers=headers, media_type=media_type)

    async def save_cohort(self, visit: Visit) -> Response:
        """Under a name, in the place of what has it."""
        asked = asked_of(KINDS["cohort"], [pair for pair in visit.fields if pair[0] not in ("csrf", "saved_name")])
        name = visit.form.get("saved_name", "").strip()
        body = {"cohort": (asked.body or {}).get("cohort")}
        await visit.api.call("PUT", f"/cohorts/{part(name)}", CohortInfo, body)
        query = KINDS["cohort"].params({"cohort": {"saved": name}}).query()
        return RedirectResponse(f"{CONSOLE_PATH}/cohorts?{query}", 303, page_headers())

    async def delete_cohort(self, visit: Visit) -> Response:
        await visit.api.call("DELETE", f"/cohorts/{part(visit.form.get('saved_name', ''))}", Deleted)
        return RedirectResponse(f"{CONSOLE_PATH}/cohorts", 303, page_headers())


async def dashboards_of(visit: Visit) -> list[Dashboard]:
    """To save something on: the first hundred. None where they cannot be listed now."""
    try:
        return (await visit.api.get("/dashboard/list", DashboardList)).items
    except AnswerError:
        return []


async def _saved(visit: Visit) -> list[CohortInfo]:
    try:
        return (await visit.api.get("/cohorts", CohortList)).items
    except AnswerError:
        return []


async def _nothing() -> Suggested:
    return Suggested()


async def _none() -> list[Any]:
    return []
