"""What makes asking shorter, in a real browser: Home, the calendar, sums side by side."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visit, chromium
from tests.support.console_queries import SHOP, WINDOW, console_of, rows_of
from tests.support.pipeline import Pipeline

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def visit(pipeline: Pipeline) -> Iterator[Visit]:
    with console_of(pipeline) as opened:
        yield opened


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit.page


def test_a_day_is_chosen_in_the_calendar(page: Page) -> None:
    page.goto("/console/trends?s.0.event=home&range=custom&since=2024-01-01T10:00&until=2024-07-01&tz=UTC")
    page.get_by_label("From: choose a day").click()
    calendar = page.locator(".calendar-of")
    expect(calendar).to_have_value("2024-01-01")
    calendar.fill("2024-02-03")
    calendar.dispatch_event("change")
    expect(page.get_by_label("From", exact=True)).to_have_value("2024-02-03")
    expect(page.get_by_label("From", exact=True)).to_be_focused()


def test_breakdowns_stand_side_by_side(pipeline: Pipeline, page: Page) -> None:
    page.goto(f"/console/funnel?s.0.event=home&s.1.event=purchase&breakdown=platform&compare=previous&{SHOP}")
    steps = [{"event": "home"}, {"event": "purchase"}]
    body = {**WINDOW, "timezone": "UTC", "steps": steps, "breakdown": "platform", "compare": "previous"}
    answer = pipeline.ask("/query/funnel", body)
    sides = [answer, *answer["breakdown"], answer["previous"]]
    assert len(sides) > 3
    rows = rows_of(page.locator(".figures").first)
    assert [row[0] for row in rows] == [
        "Everybody",
        *(line["value"] for line in answer["breakdown"]),
        "The period before",
    ]
    counts = [[one["people"] for one in side["steps"]] for side in sides]
    assert [[int(text) for text in row[1:]] for row in rows] == counts
    # One of them leads to its people.
    count = answer["breakdown"][0]["steps"][1]["people"]
    page.locator(".figures").first.locator("tbody tr").nth(1).locator("button.n").nth(1).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{count} people")


def test_from_home_to_who_buys_again(pipeline: Pipeline, page: Page) -> None:
    """In one press: of old data all time is asked for."""
    page.goto("/console/")
    page.get_by_role("row", name="purchase").get_by_role("link", name="who does it again").click()
    _, *rows = rows_of(page.locator(".figures"))
    body = {"born_event": "purchase", "return_event": "purchase", "interval": "week"}
    zone = parse_qs(urlsplit(page.url).query)["tz"][0]
    answer = pipeline.ask("/query/retention", {**body, **WINDOW, "since": "2023-12-25", "timezone": zone})
    people = [row[0] for row in answer["matrix"] if row[0]]
    assert [int(row[1]) for row in rows if int(row[1])] == people
    assert sum(people) > 300
