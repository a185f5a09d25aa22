"""The console in a real browser: signing in, and what tables on its pages say."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Locator, Page

from services.devstack.clickstream import EVENT_COUNT, batches
from tests.support.browser import Visit, window
from tests.support.pipeline import KEY, Pipeline, eventually

# The shop's clickstream lies in it.
WINDOW = {"since": "2024-01-01", "until": "2024-07-01"}
_ALL = {**WINDOW, "interval": "month", "series": [{"event": None}]}


def send_clickstream(pipeline: Pipeline) -> None:
    """Once a stack, however often it is asked for: its keys are always the same."""
    _send(pipeline)


@cache
def _send(pipeline: Pipeline) -> None:
    for batch in batches():
        assert pipeline.ask("/batch", {"events": batch})["ok"]
    eventually(
        lambda: sum(pipeline.ask("/query/trends", _ALL)["series"][0]["lines"][0]["values"]),
        lambda count: count >= EVENT_COUNT,
        within_s=60,
    )


def sign_in(page: Page, then: str = "/console/") -> None:
    """By the link that `make run` prints."""
    page.goto(f"/console/sign-in#key={KEY}")
    page.wait_for_url(lambda address: "sign-in" not in address)
    if urlsplit(page.url).path != then:
        page.goto(then)


@contextmanager
def signed_in(pipeline: Pipeline) -> Iterator[Visit]:
    """At the end: nothing went wrong in the browser, and it asked nobody but the gateway."""
    with window(pipeline.base_url) as visit:
        sign_in(visit.page)
        yield visit
        # The stream of the live page, which is left after signing in.
        assert [text for text in visit.problems if "/console/live/stream" not in text] == []
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


def choose_window(page: Page, since: str = WINDOW["since"], until: str = WINDOW["until"]) -> None:
    page.get_by_label("When", exact=True).last.select_option("custom")
    page.get_by_label("From", exact=True).first.fill(since)
    page.get_by_label("Up to, not with").first.fill(until)
