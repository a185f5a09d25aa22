"""What a form suggests, from the catalog: events, properties, values. Suggestions that fail are none."""

from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from services.console.frame.api import AnswerError
from services.console.frame.frame import Frame, Visit
from services.console.frame.headers import page_headers
from services.console.queries.params import Params
from services.console.queries.texts import ANY_EVENT, name_of, text_of, text_of_name
from services.contract.api.catalog import CatalogEvent, CatalogProperty, CatalogResult, CatalogTraits
from services.contract.api.cohorts import CohortList

_LIMIT = 200
_FIELDS = ("event", "distinct_id", "person_id", "timestamp")


class Suggested(msgspec.Struct, frozen=True):
    """`keys`: of filters. `groups`: types of groups. `cohorts`: names of saved ones.

    `seen`: the events with their times; `knows_all`: there are no others.
    """

    events: list[str] = []
    keys: list[str] = []
    groups: list[str] = []
    cohorts: list[str] = []
    seen: list[CatalogEvent] = []
    knows_all: bool = False


class Suggestions:
    """Asks the catalog, which knows the answer without reading events."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [self._frame.page("/suggest", self.answer)]

    async def answer(self, visit: Visit) -> Response:
        """For a field that is being filled in: `of` is events, keys or values."""
        said = Params(visit.fields)
        event = _event(said.all("event"))
        catalog = await catalog_of(visit, event, said.one("q") if said.one("of") == "events" else "")
        if said.one("of") == "values":
            found = _values(catalog, name_of(said.one("key")))
        elif said.one("of") == "keys":
            found = keys_of(catalog)
        else:
            found = [text_of_name(one.event) for one in catalog.events]
        return Response(msgspec.json.encode(found), headers=page_headers(), media_type="application/json")


async def suggested(visit: Visit, params: Params) -> Suggested:
    """For a page with a form: what there is, with the properties of the first event that it names."""
    events = [value for key, value in params.pairs if key in ("born", "start") or key.endswith(".event")]
    catalog = await catalog_of(visit, _event(events))
    return Suggested(
        events=[text_of_name(one.event) for one in catalog.events],
        keys=keys_of(catalog),
        groups=[text_of_name(one.group_type) for one in catalog.groups],
        cohorts=await _cohorts(visit),
        seen=catalog.events,
        knows_all=catalog.built_at is not None and not catalog.building and len(catalog.events) < _LIMIT,
    )


async def catalog_of(visit: Visit, event: str | None, search: str = "") -> CatalogResult:
    body: dict[str, Any] = {"limit": _LIMIT}
    if event:
        body["event"] = event
    if search:
        body["search"] = search[:_LIMIT]
    try:
        return await visit.api.post("/query/catalog", body, CatalogResult)
    except AnswerError as error:
        if error.status == 401:
            raise
        nobody = CatalogTraits(sample=0, traits=[])
        return CatalogResult(built_at=None, building=False, events=[], people=nobody, groups=[])


async def _cohorts(visit: Visit) -> list[str]:
    try:
        return [text_of_name(one.name) for one in (await visit.api.get("/cohorts", CohortList)).items]
    except AnswerError:
        return []


def keys_of(catalog: CatalogResult) -> list[str]:
    """Properties of the event, fields of events, traits of people and of groups."""
    properties = catalog.properties.properties if catalog.properties is not msgspec.UNSET else []
    keys = [_key(one.name) for one in properties]
    keys += _FIELDS
    keys += [f"person.{one.name}" for one in catalog.people.traits]
    for group in catalog.groups:
        keys += [f"group.{group.group_type}", *(f"group.{group.group_type}.{one.name}" for one in group.traits)]
    return [text_of_name(key) for key in dict.fromkeys(keys)]


def _key(name: str) -> str:
    """A property with the name of a field is meant as a property."""
    hidden = name in (*_FIELDS, "event_id", "received_at") or name.startswith(("person.", "group.", "properties."))
    return f"properties.{name}" if hidden else name


def _values(catalog: CatalogResult, key: str) -> list[str]:
    named: dict[str, CatalogProperty] = {}
    if catalog.properties is not msgspec.UNSET:
        named = {_key(one.name): one for one in catalog.properties.properties}
    named |= {f"person.{one.name}": one for one in catalog.people.traits}
    for group in catalog.groups:
        named |= {f"group.{group.group_type}.{one.name}": one for one in group.traits}
    found = named.get(key)
    return [text_of(msgspec.json.decode(bytes(one.value))) for one in found.top] if found else []


def _event(said: list[str]) -> str | None:
    """The first one that is named."""
    return next((name_of(one) for one in said if one.strip() and one.strip() != ANY_EVENT), None)
