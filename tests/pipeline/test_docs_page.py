"""/docs of the address that `make run` gives, in a real browser: every call is shown, and no other host is asked."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.openapi import CALLS
from tests.support.browser import Visit, chromium, window
from tests.support.pipeline import KEY, Pipeline

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")


@pytest.fixture
def visit(pipeline: Pipeline) -> Iterator[Visit]:
    """At the end: nothing went wrong in the browser, and it asked nobody but the gateway."""
    with window(pipeline.base_url) as opened:
        opened.page.goto("/docs")
        yield opened
        assert opened.problems == []
        assert opened.hosts == {urlsplit(pipeline.base_url).netloc}


def test_every_call_is_shown(visit: Visit) -> None:
    expect(visit.page.locator(".opblock")).to_have_count(len(CALLS))
    shown = {
        (call.locator(".opblock-summary-method").inner_text(), call.locator(".opblock-summary-path").inner_text())
        for call in visit.page.locator(".opblock").all()
    }
    # A path may be broken by zero-width spaces.
    assert {(m, p.replace("\u200b", "")) for m, p in shown} == {(c.method, BASE_PATH + c.path) for c in CALLS}
    expect(visit.page.get_by_text("Headrace", exact=False).first).to_be_visible()


def test_a_call_can_be_tried_with_a_key(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Authorize").click()
    page.locator(".auth-container input").fill(KEY)
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").click()
    call = page.locator(".opblock").filter(has_text="/dashboard/list")
    call.locator(".opblock-summary-control").click()
    call.get_by_role("button", name="Try it out").click()
    call.get_by_role("button", name="Execute").click()
    expect(call.locator(".live-responses-table .response-col_status").nth(1)).to_contain_text("200")
    expect(call.locator(".live-responses-table")).to_contain_text('"items"')
