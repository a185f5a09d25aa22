"""/console/groups and /console/group: types of groups, groups of a type, and one group."""

from datetime import timedelta

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.console.frame.api import AnswerError, part
from services.console.frame.curl import curl_line
from services.console.frame.frame import Frame, Visit, query_of
from services.console.frame.headers import page_headers
from services.console.pages.people import next_page
from services.console.results.result import missing_of
from services.console.views.people import Window, groups_body, time_line_body
from services.contract.api.catalog import CatalogResult
from services.contract.api.events import EventsResult
from services.contract.api.groups import GroupProfile
from services.contract.api.people import ListedGroup, PeopleResult
from services.contract.api.root_paths import CONSOLE_PATH
from services.runtime.clock import utc_now

_WINDOWS = {"7d": "last 7 days", "30d": "last 30 days", "90d": "last 90 days", "24mo": "last 24 months"}
_CATALOG = {"limit": 100}
# Of a group that no call names nobody says since when it is there: the longest of the windows above.
_LOOKED_BACK = timedelta(days=731)


class GroupPages:
    """Groups likewise."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [self._frame.page("/groups", self.groups), self._frame.page("/group", self.group)]

    async def groups(self, visit: Visit) -> Response:
        group_type, key = visit.query.get("type", ""), visit.query.get("key", "").strip()
        if group_type and key:
            address = f"{CONSOLE_PATH}/group?{query_of({'type': group_type, 'key': key})}"
            return RedirectResponse(address, 303, page_headers())
        last = visit.query.get("last", "")
        last = last if last in _WINDOWS else "90d"
        catalog = await visit.api.post("/query/catalog", _CATALOG, CatalogResult)
        curl = curl_line(visit.base_url, "POST", "/query/catalog", _CATALOG)
        found, count = list[ListedGroup](), 0
        if group_type:
            body = groups_body(group_type, last)
            result = await visit.api.post("/query/people", body, PeopleResult)
            found, count = result.groups or [], result.count
            curl = curl_line(visit.base_url, "POST", "/query/people", body)
        return self._frame.show(
            visit,
            "groups.html",
            types=catalog.groups,
            group_type=group_type,
            last=last,
            windows=_WINDOWS,
            found=found,
            count=count,
            curl=curl,
        )

    async def group(self, visit: Visit) -> Response:
        group_type, key = visit.query.get("type", ""), visit.query.get("key", "")
        path = f"/groups/{part(group_type)}/{part(key)}"
        group, now, unknown = None, utc_now(), None
        try:
            group = await visit.api.get(path, GroupProfile)
        except AnswerError as error:
            if error.status != 404 or not (group_type and key):
                raise
            unknown = error
        window = Window.of(visit.query, now - _LOOKED_BACK if group is None else group.first_seen, now)
        body = time_line_body({f"group.{group_type}": key}, window, visit.query.get("cursor", ""))
        events = await visit.api.post("/query/events", body, EventsResult)
        if unknown is not None and not events.events:
            raise unknown
        return self._frame.show(
            visit,
            "group.html",
            group_type=group_type,
            key=key,
            group=group,
            events=events.events,
            missing=missing_of(events),
            more=next_page(visit, window, events),
            curl=curl_line(visit.base_url, "GET", path),
            events_curl=curl_line(visit.base_url, "POST", "/query/events", body),
        )
