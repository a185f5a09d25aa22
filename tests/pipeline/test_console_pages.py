"""All pages of the console in a real browser: signing in, looks, keys, without script, and what nobody may do."""

import json
import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Response, expect

from services.console.frame.session import COOKIE
from tests.support.browser import Opener, Visit, chromium, windows
from tests.support.console import PAGES, catalog, fill, signed_in
from tests.support.pipeline import KEY, Pipeline, eventually

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
MAX_PAGE_BYTES = 100_000
# What a page says does not depend on its colours.
RULES: dict[str, dict[str, Any]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}


@pytest.fixture(scope="module")
def opened(pipeline: Pipeline) -> Iterator[Opener]:
    fill(pipeline)
    with windows(pipeline.base_url) as opener:
        yield opener


def nothing_is_wrong(visit: Visit, pipeline: Pipeline) -> None:
    """Neither on the browser's console nor in what it asked for, and it asked nobody else."""
    # Streams that a page had when it was left.
    problems = [text for text in visit.problems if "/console/live/stream" not in text]
    assert problems == []
    assert visit.hosts == {urlsplit(pipeline.base_url).netloc}


def test_the_link_signs_in_and_the_key_goes_nowhere_else(pipeline: Pipeline, opened: Opener) -> None:
    visit = opened()
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(f"{request.url} {request.headers.get('referer', '')}"))
    visit.page.goto(f"/console/sign-in#key={KEY}")
    expect(visit.page.get_by_role("heading", name="Home")).to_be_visible()
    assert not [line for line in asked if KEY in line]
    assert KEY not in visit.page.content()
    (cookie,) = [one for one in visit.page.context.cookies() if one["name"] == COOKIE]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/console")
    assert KEY not in cookie["value"]
    assert visit.page.evaluate("document.cookie") == ""
    visit.page.get_by_role("button", name="Sign out").click()
    expect(visit.page.get_by_label("Project key")).to_be_focused()
    visit.page.goto("/console/catalog?q=view")
    visit.page.get_by_label("Project key").fill(KEY)
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("link", name="product_view")).to_be_visible()
    assert visit.page.url == f"{pipeline.base_url}/console/catalog?q=view"
    nothing_is_wrong(visit, pipeline)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark"), (3840, "light")])
def test_every_page_fits_can_be_read_by_all_and_is_small(
    pipeline: Pipeline, opened: Opener, width: int, scheme: str
) -> None:
    visit = signed_in(opened, width=width, color_scheme=scheme)
    page, answers = visit.page, list[Response]()
    page.on("response", lambda answer: answers.append(answer))
    for name, address in {**PAGES, "sign-in": "/console/sign-in"}.items():
        answers.clear()
        page.goto(address)
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than {width}"
        if width < 3840:
            violations = Axe().run(page, options=RULES[scheme]).response["violations"]
            assert violations == [], f"{name}: {json.dumps(violations)[:2000]}"
        sizes = [each.request.sizes()["responseBodySize"] for each in answers if "/live/stream" not in each.url]
        assert sum(sizes) < MAX_PAGE_BYTES, name
    page.goto("about:blank")
    nothing_is_wrong(visit, pipeline)


def test_pages_work_without_script(pipeline: Pipeline, opened: Opener) -> None:
    visit = opened(java_script_enabled=False)
    page = visit.page
    page.goto("/console/people?q=lovelace")
    page.get_by_label("Project key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="console_ada")).to_be_visible()
    for name, address in PAGES.items():
        page.goto(address)
        expect(page.locator("h1")).to_be_visible()
        assert page.locator("details.curl").count() or name == "setup"
        page.get_by_text("as curl").first.click() if name != "setup" else None
        expect(page.locator("code", has_text="curl").first).to_be_visible()
    page.goto("/console/live")
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_text("Accepted.")).to_be_visible()

    def reloaded() -> str:
        page.reload()
        return page.content()

    eventually(reloaded, lambda text: ">test_event<" in text)
    page.get_by_role("link", name="test_event").first.click()
    expect(page.locator("code").first).to_contain_text('"from": "console"')
    nothing_is_wrong(visit, pipeline)


def test_the_catalog_has_the_numbers_of_the_api(pipeline: Pipeline, opened: Opener) -> None:
    visit = signed_in(opened)

    def shown() -> dict[str, int]:
        """It is counted while the test runs: page and call must agree in the end."""
        visit.page.wait_for_timeout(500)
        visit.page.goto("/console/catalog")
        rows = visit.page.locator("section:first-of-type tbody tr").all()
        cells = [(row.locator("th").inner_text(), row.locator("td").first.inner_text()) for row in rows]
        return {name: int(count.replace("\u202f", "")) for name, count in cells}

    eventually(shown, lambda numbers: "purchase" in numbers and numbers == catalog(pipeline), 60)
    visit.page.get_by_role("link", name="purchase", exact=True).click()
    properties = pipeline.ask("/query/catalog", {"event": "purchase"})["properties"]["properties"]
    assert len(properties) >= 5
    for each in properties:
        row = visit.page.get_by_role("row").filter(
            has=visit.page.get_by_role("rowheader", name=each["name"], exact=True)
        )
        for value in each["top"][:6]:
            expect(row).to_contain_text(str(value["value"]))
    nothing_is_wrong(visit, pipeline)


def test_everything_by_keyboard(pipeline: Pipeline, opened: Opener) -> None:
    page = (visit := signed_in(opened)).page
    page.goto("/console/catalog")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("lovelace")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="console_bob")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("search for a person")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name="Catalog")).to_be_visible()
    nothing_is_wrong(visit, pipeline)


def test_a_session_that_ended_leads_to_the_sign_in_and_back(pipeline: Pipeline, opened: Opener) -> None:
    page = (visit := signed_in(opened)).page
    page.goto("/console/catalog?q=cart")
    (cookie,) = [one for one in page.context.cookies() if one["name"] == COOKIE]
    page.context.clear_cookies()
    ended = "gAAAAAB" + cookie["value"][7:-9] + "AAAAAAAAA"
    page.context.add_cookies([{"name": COOKIE, "value": ended, "domain": cookie["domain"], "path": cookie["path"]}])
    page.reload()
    page.get_by_label("Project key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="add_to_cart")).to_be_visible()
    assert page.url.endswith("/console/catalog?q=cart")
    nothing_is_wrong(visit, pipeline)


def test_a_page_of_another_site_changes_nothing(pipeline: Pipeline, opened: Opener) -> None:
    """Its form comes without the cookie; a link of it finds the session all the same."""
    page = signed_in(opened).page
    page.goto("about:blank")
    page.set_content(
        f'<form method="post" action="{pipeline.base_url}/console/sign-out"><button>Win</button></form>'
        f'<a href="{pipeline.base_url}/console/catalog?q=cart">Look</a>'
    )
    page.get_by_role("button", name="Win").click()
    page.wait_for_url("**/console/**")
    page.goto("about:blank")
    page.set_content(f'<a href="{pipeline.base_url}/console/catalog?q=cart">Look</a>')
    page.get_by_role("link", name="Look").click()
    expect(page.get_by_role("link", name="add_to_cart")).to_be_visible()


def test_the_set_up_turns_green_with_the_first_event(pipeline: Pipeline, opened: Opener) -> None:
    settings = dict(line.split("=", 1) for line in shlex.split((pipeline.data_dir / "env").read_text()))
    command = [sys.executable, "-m", "services.cli", "keys", "create", "--project", f"empty-{uuid.uuid4()}"]
    command += ["--scope", "ingest", "--scope", "query"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)  # noqa: S603
    key = next(word for word in done.stdout.split() if word.startswith("hr_"))
    page = (visit := signed_in(opened, key)).page
    for name, address in PAGES.items():
        if name in ("live", "people", "groups", "catalog", "setup"):
            page.goto(address)
            expect(
                page.get_by_text("See how to send" if name != "setup" else "No event yet", exact=False).first
            ).to_be_visible()
    expect(page.locator("#check.info")).to_be_visible()
    body = {"event": "first", "distinct_id": "somebody"}
    address = f"{pipeline.base_url}/v1/analytics/track"
    assert httpx.post(address, json=body, headers={"authorization": f"Bearer {key}"}).status_code == 200
    expect(page.locator("#check.good")).to_contain_text("first", timeout=10_000)
    nothing_is_wrong(visit, pipeline)


def test_the_lines_for_curl_get_what_the_pages_show(pipeline: Pipeline, opened: Opener) -> None:
    """As a shell takes them. Those of the stream, and what deletes, are left out."""
    page = signed_in(opened).page
    lines: list[str] = []
    for address in PAGES.values():
        page.goto(address)
        lines += [text for text in page.locator("details.curl code").all_text_contents() if text.startswith("curl ")]
    asked = [line for line in lines if "/privacy/delete" not in line and "/events/live" not in line]
    assert len(asked) > len(PAGES)
    for line in dict.fromkeys(asked):
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", f"{line} --silent --fail"], env={**os.environ, "INFRAI_API_KEY": KEY}, capture_output=True
        )
        assert done.returncode == 0, line
        assert isinstance(json.loads(done.stdout), dict)
