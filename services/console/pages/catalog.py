"""/console/catalog: what is there; with `event`, the properties of one."""

from starlette.responses import Response
from starlette.routing import Route

from services.console.frame.curl import curl_line
from services.console.frame.frame import Frame, Visit
from services.console.views.catalog import SHOWN_NAMES, catalog_body, event_of, property_rows, sample_of
from services.contract.api.catalog import CatalogResult


class CatalogPages:
    """Events, properties, traits, types of groups."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [self._frame.page("/catalog", self.catalog)]

    async def catalog(self, visit: Visit) -> Response:
        search, event = visit.query.get("q", "").strip(), visit.query.get("event", "")
        if event:
            return await self._event(visit, event)
        body = catalog_body(search)
        result = await visit.api.post("/query/catalog", body, CatalogResult)
        return self._frame.show(
            visit,
            "catalog.html",
            search=search,
            result=result,
            traits=property_rows(result.people.traits),
            groups=[(group, property_rows(group.traits)) for group in result.groups],
            shown=SHOWN_NAMES,
            most=max((one.events for one in result.events), default=1),
            curl=curl_line(visit.base_url, "POST", "/query/catalog", body),
        )

    async def _event(self, visit: Visit, name: str) -> Response:
        body = {"event": name}
        result = await visit.api.post("/query/catalog", body, CatalogResult)
        sample, properties = sample_of(result)
        return self._frame.show(
            visit,
            "catalog_event.html",
            name=name,
            event=event_of(result, name),
            sample=sample,
            properties=properties,
            curl=curl_line(visit.base_url, "POST", "/query/catalog", body),
        )
