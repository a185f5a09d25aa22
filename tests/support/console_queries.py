"""Queries and dashboards in a real browser: their pages, and what tables on them say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Locator, Page

from tests.support.browser import Visit, windows
from tests.support.console import fill, signed_in
from tests.support.pipeline import Pipeline

# The shop's clickstream lies in it.
WINDOW = {"since": "2024-01-01", "until": "2024-07-01"}
SHOP = "range=custom&since=2024-01-01&until=2024-07-01&tz=UTC"
_DID = "c.0.kind=did&c.0.event=purchase&c.0.range=custom&c.0.since=2024-01-01&c.0.until=2024-07-01"
QUERY_PAGES = {
    "home": "/console/",
    "trends-empty": "/console/trends",
    "trends": f"/console/trends?s.0.event=home&s.1.event=purchase&interval=week&compare=previous&{SHOP}",
    "trends-wrong": "/console/trends?s.0.event=home&f.0.key=plan&f.0.op=gt&f.0.value=true&range=last:7d",
    "funnel": f"/console/funnel?s.0.event=home&s.1.event=purchase&breakdown=platform&{SHOP}",
    "retention": f"/console/retention?born=home&back=*&interval=week&{SHOP}",
    "paths": f"/console/paths?start=home&depth=3&top=4&{SHOP}",
    "cohorts": f"/console/cohorts?{_DID}",
    "people-behind": f"/console/trends/people?s.0.event=purchase&s.0.measure=people&{SHOP}",
    "dashboards": "/console/dashboards",
}


def board(pipeline: Pipeline) -> str:
    """The address of a dashboard with a tile of each kind; always the same one."""
    home, bought = {"event": "home"}, {"event": "purchase"}
    queries: list[dict[str, Any]] = [
        {"type": "trends", "title": "People", "series": [{"event": None, "measure": "people"}], "width": 8},
        {"type": "cohort", "title": "Buyers", "cohort": {"did": "purchase", **WINDOW}, "width": 4},
        {"type": "funnel", "title": "To purchase", "steps": [home, {"event": "add_to_cart"}, bought]},
        {"type": "retention", "title": "Back", "born_event": "home", "return_event": None, "interval": "month"},
        {"type": "path", "title": "After home", "start_event": "home", "max_depth": 3, "top": 4, "width": 12},
        {"type": "trends", "title": "By platform", "series": [bought], "interval": "week", "breakdown": "platform"},
        {"type": "events", "title": "Latest", "order": "desc", "limit": 20},
    ]
    whole = [query if "cohort" in query else {**query, **WINDOW} for query in queries]
    sent = {"name": "The shop", "queries": whole, "idempotency_key": "console-board"}
    return f"/console/dashboards/{pipeline.ask('/dashboard/create', sent)['dashboard_id']}"


@contextmanager
def console_of(pipeline: Pipeline) -> Iterator[Visit]:
    """Signed in. At the end: nothing went wrong in the browser, and it asked nobody but the gateway."""
    fill(pipeline)
    with windows(pipeline.base_url) as opened:
        visit = signed_in(opened)
        yield visit
        # The stream of the live page, which is left after signing in.
        problems = [text for text in visit.problems if "/console/live/stream" not in text]
        assert problems == [], problems
        assert visit.hosts == {urlsplit(pipeline.base_url).netloc}


def fresh(visit: Visit, pipeline: Pipeline, **options: Any) -> BrowserContext:
    """Somebody else's browser. To be closed."""
    browser = visit.page.context.browser
    assert browser is not None
    return browser.new_context(base_url=pipeline.base_url, **options)


def rows_of(table: Locator) -> list[list[str]]:
    """Heads and cells; thin blanks and the mark of what has not ended are left out, and of two lines the last."""
    script = """table => [...table.tBodies[0].rows].map(row => [...row.cells].map(cell =>
        (cell.querySelector('small') ?? cell).textContent.replace(/[\\u202f*]/g, '').trim()))"""
    found: list[list[str]] = table.evaluate(script)
    return found


def shown_number(value: float | int | None) -> str:
    """As `rows_of` reads it."""
    if value is None:
        return "–"
    return str(int(value)) if float(value).is_integer() else f"{value:.2f}".rstrip("0").rstrip(".")


def more(page: Page) -> None:
    """Opens what is folded in the form."""
    page.locator("#builder summary", has_text="More").click()


def choose_window(page: Page, since: str = WINDOW["since"], until: str = WINDOW["until"]) -> None:
    page.get_by_label("When", exact=True).last.select_option("custom")
    page.get_by_label("From", exact=True).first.fill(since)
    page.get_by_label("Before", exact=True).first.fill(until)
