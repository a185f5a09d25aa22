"""The console in a browser: signed in, with the shop's clickstream and people of which everything is known."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from services.devstack.clickstream import EVENT_COUNT, batches
from tests.support.browser import Opener, Visit
from tests.support.pipeline import KEY, Pipeline, eventually

CLICKSTREAM = {"since": "2024-01-01", "until": "2024-07-01"}
# A page for each kind; those of one person or group come with the people below.
PAGES = {
    "live": "/console/live",
    "people": "/console/people",
    "people-found": "/console/people?q=lovelace",
    "person": "/console/person?id=console_ada",
    "person-delete": "/console/person/delete?id=console_ada",
    "groups": "/console/groups",
    "groups-of-a-type": "/console/groups?type=console_company",
    "group": "/console/group?type=console_company&key=acme",
    "catalog": "/console/catalog",
    "catalog-event": "/console/catalog?event=product_view",
    "setup": "/console/setup",
}


def fill(pipeline: Pipeline) -> None:
    """Sends what is not there; sent again it changes nothing."""
    if stored(pipeline) < EVENT_COUNT:
        for batch in batches():
            pipeline.ask("/batch", {"events": batch})
    for number, name in enumerate(("ada", "bob", "eve")):
        user = f"console_{name}"
        traits = {"name": f"{name.title()} Lovelace", "plan": ("pro", "free")[number % 2], "age": 30 + number}
        pipeline.ask("/identify", {"distinct_id": f"{user}_phone", "user_id": user, "traits": traits})
        pipeline.ask(
            "/group",
            {"distinct_id": user, "group_type": "console_company", "group_key": "acme", "traits": {"seats": 12}},
        )
        events = [
            {
                "event": event,
                "distinct_id": f"{user}_phone",
                "idempotency_key": f"{user}-{event}",
                "properties": {"n": n},
            }
            for n, event in enumerate(("console_opened", "console_bought"))
        ]
        pipeline.ask("/batch", {"events": events})
    eventually(lambda: stored(pipeline), lambda count: count == EVENT_COUNT, 60)
    eventually(lambda: person(pipeline, "console_eve"), lambda found: found.get("events") == 2)
    # It is built behind what is stored.
    eventually(lambda: catalog(pipeline), lambda counted: {"product_view", "purchase"} <= set(counted), 60)


def stored(pipeline: Pipeline) -> int:
    """Events of the clickstream."""
    query = {**CLICKSTREAM, "series": [{"event": None}], "interval": "month"}
    (line,) = pipeline.ask("/query/trends", query)["series"][0]["lines"]
    return int(sum(line["values"]))


def catalog(pipeline: Pipeline) -> dict[str, int]:
    """Events by name."""
    return {event["event"]: event["events"] for event in pipeline.ask("/query/catalog", {})["events"]}


def person(pipeline: Pipeline, distinct_id: str) -> dict[str, Any]:
    response = pipeline.client.get(f"/persons/{distinct_id}")
    found: dict[str, Any] = response.json() if response.status_code == 200 else {}
    return found


def signed_in(opened: Opener, key: str = KEY, **options: Any) -> Visit:
    """By the link that `make run` prints."""
    visit = opened(**options)
    visit.page.goto(f"/console/sign-in#key={key}")
    visit.page.wait_for_url("**/console/")
    return visit


def shots(opened: Opener, folder: Any, pages: dict[str, str], said: Callable[[str], None]) -> None:
    """A picture of each page, whole: light and dark, at a desk and on a phone."""
    for scheme in ("light", "dark"):
        for width, height in ((1280, 900), (360, 740)):
            visit = signed_in(opened, width=width, height=height, color_scheme=scheme)
            for name, address in {**pages, "sign-in": "/console/sign-in"}.items():
                visit.page.goto(address)
                expect(visit.page.locator("[data-tile]:not([data-loaded])")).to_have_count(0, timeout=30_000)
                visit.page.wait_for_timeout(300)
                path = folder / f"{name}-{scheme}-{width}.png"
                visit.page.screenshot(path=path, full_page=True)
                said(str(path))
            visit.page.close()
