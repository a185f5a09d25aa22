"""/console/people and /console/person: finding people, one person, and deleting one."""

import asyncio
import secrets
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.console.frame.api import AnswerError, Params, part
from services.console.frame.curl import curl_line
from services.console.frame.frame import Frame, Visit, own_address, query_of
from services.console.frame.headers import page_headers
from services.console.results.result import missing_of
from services.console.views.live import LiveFilter, latest_events
from services.console.views.people import (
    FOUND_PEOPLE,
    SHOWN_IDS,
    Window,
    seen_last,
    time_line_body,
    with_exact_first,
)
from services.contract.api.events import EventsResult
from services.contract.api.persons import Person, PersonSearch
from services.contract.api.privacy import Deletion
from services.contract.api.root_paths import CONSOLE_PATH
from services.runtime.clock import utc_now

_LISTS = tuple(f"{CONSOLE_PATH}/{name}" for name in ("people", "group", "live", "cohorts"))


class PeoplePages:
    """Search, profile with time line, deletion with its state."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [
            self._frame.page("/people", self.people),
            self._frame.page("/person", self.person),
            self._frame.page("/person/delete", self.ask_delete),
            self._frame.page("/person/delete", self.delete, ("POST",)),
            self._frame.page("/deletion", self.deletion),
        ]

    async def people(self, visit: Visit) -> Response:
        search = visit.query.get("q", "").strip()
        if not search:
            return await self._seen_last(visit)
        params: Params = {"search": search, "limit": FOUND_PEOPLE}
        found, exact = await asyncio.gather(visit.api.get("/persons", PersonSearch, params), _person(visit, search))
        return self._frame.show(
            visit,
            "people.html",
            search=search,
            people=with_exact_first(found.people, exact),
            more=found.more,
            curl=curl_line(visit.base_url, "GET", "/persons", params=params),
        )

    async def _seen_last(self, visit: Visit) -> Response:
        body = latest_events(LiveFilter(), utc_now())
        found = await visit.api.post("/query/events", body, EventsResult)
        return self._frame.show(
            visit,
            "people_seen.html",
            search="",
            events=seen_last(found.events),
            missing=missing_of(found),
            curl=curl_line(visit.base_url, "POST", "/query/events", body),
        )

    async def person(self, visit: Visit) -> Response:
        path, back = f"/persons/{part(visit.query.get('id', ''))}", _list_before(visit)
        person = await visit.api.get(path, Person)
        events, more, events_curl = EventsResult(events=[]), "", ""
        if person.first_seen and person.last_seen:
            window = Window.of(visit.query, person.first_seen, person.last_seen)
            body = time_line_body({"person_id": person.person_id}, window, visit.query.get("cursor", ""))
            events = await visit.api.post("/query/events", body, EventsResult)
            events_curl = curl_line(visit.base_url, "POST", "/query/events", body)
            more = next_page(visit, window, events, back=back)
        return self._frame.show(
            visit,
            "person.html",
            person=person,
            back=back,
            events=events.events,
            missing=missing_of(events),
            more=more,
            shown_ids=SHOWN_IDS,
            curl=curl_line(visit.base_url, "GET", path),
            events_curl=events_curl,
        )

    async def ask_delete(self, visit: Visit) -> Response:
        person = await visit.api.get(f"/persons/{part(visit.query.get('id', ''))}", Person)
        return self._delete_page(visit, person, secrets.token_urlsafe(16), "")

    async def delete(self, visit: Visit) -> Response:
        """The key of the form makes a second click the same deletion. The id stands in the address: a field of a form would
        have other line ends."""
        wanted, once = visit.query.get("id", ""), visit.form.get("once", "") or secrets.token_urlsafe(16)
        confirmed = visit.form.get("confirm", "")
        if not confirmed or _without_blanks(confirmed) != _without_blanks(wanted):
            person = await visit.api.get(f"/persons/{part(wanted)}", Person)
            return self._delete_page(visit, person, once, "This is not the person's id. Nothing was deleted.", 400)
        body = {"distinct_id": wanted, "idempotency_key": once}
        deletion = await visit.api.post("/privacy/delete", body, Deletion)
        return RedirectResponse(
            f"{CONSOLE_PATH}/deletion?{query_of({'id': deletion.deletion_id})}", 303, page_headers()
        )

    def _delete_page(self, visit: Visit, person: Person, once: str, problem: str, status: int = 200) -> Response:
        curl = curl_line(visit.base_url, "POST", "/privacy/delete", {"distinct_id": person.person_id})
        return self._frame.show(
            visit, "person_delete.html", status=status, person=person, once=once, wrong=problem, curl=curl
        )

    async def deletion(self, visit: Visit) -> Response:
        path = f"/privacy/delete/{part(visit.query.get('id', ''))}"
        deletion = await visit.api.get(path, Deletion)
        curl = curl_line(visit.base_url, "GET", path)
        return self._frame.show(visit, "deletion.html", deletion=deletion, curl=curl)


def _without_blanks(text: str) -> str:
    """Nobody sees those at the ends, and a line end cannot be written into a field."""
    return "".join(text.split())


async def _person(visit: Visit, distinct_id: str) -> Person | None:
    """None where nothing has this id."""
    try:
        return await visit.api.get(f"/persons/{part(distinct_id)}", Person)
    except AnswerError as error:
        if error.status in (400, 404):
            return None
        raise


def _list_before(visit: Visit) -> str:
    """The list that somebody came from, the page behind a number too; empty where it was none. The next page says it on."""
    came_from = urlsplit(visit.request.headers.get("referer", ""))
    address = visit.query.get("back") or came_from.path + (f"?{came_from.query}" if came_from.query else "")
    path = address.partition("?")[0]
    is_list = path in _LISTS or path.endswith("/people")
    return address if is_list and own_address(address) == address else ""


def next_page(visit: Visit, window: Window, events: EventsResult, **more: str) -> str:
    """The address of the page behind this one; empty where there is none."""
    if not events.next_cursor:
        return ""
    return "?" + query_of(visit.query, cursor=events.next_cursor, since=window.since, until=window.until, **more)
