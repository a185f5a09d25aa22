"""Live events, people and groups of the console in a real browser, with the numbers of the API."""

import time
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Dialog, expect

from tests.support.browser import Opener, chromium, windows
from tests.support.console import fill, person, signed_in
from tests.support.pipeline import Pipeline, eventually

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
MAX_UNSEEN_S = 3.0
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def opened(pipeline: Pipeline) -> Iterator[Opener]:
    fill(pipeline)
    with windows(pipeline.base_url) as opener:
        yield opener


def test_an_event_shows_within_seconds_of_its_2xx(pipeline: Pipeline, opened: Opener) -> None:
    page = (visit := signed_in(opened)).page
    expect(page.get_by_text("Events show as they come in.")).to_be_visible()
    for number in range(3):
        name = f"console_live_{number}"
        pipeline.ask("/track", {"event": name, "distinct_id": "console_live", "properties": {"number": number}})
        began = time.monotonic()
        expect(page.get_by_role("link", name=name)).to_be_visible(timeout=MAX_UNSEEN_S * 1000)
        assert time.monotonic() - began < MAX_UNSEEN_S
    page.get_by_role("link", name="console_live_1").click()
    expect(page.get_by_role("dialog")).to_contain_text('"number": 1')
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Pause").click()
    pipeline.ask("/track", {"event": "console_live_paused", "distinct_id": "console_live"})
    page.get_by_role("button", name="Go on (1 new)").click()
    expect(page.get_by_role("link", name="console_live_paused")).to_be_visible()

    page.get_by_label("Property").fill("number")
    page.get_by_label("Operator").select_option("above")
    page.get_by_label("Value").fill("1")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("link", name="console_live_2")).to_be_visible()
    expect(page.get_by_role("link", name="console_live_0")).to_have_count(0)
    assert urlsplit(page.url).query == "property=number&op=gt&value=1"
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_text("Accepted.")).to_be_visible()
    pipeline.ask("/track", {"event": "console_live_more", "distinct_id": "console_live", "properties": {"number": 7}})
    expect(page.get_by_role("link", name="console_live_more")).to_be_visible(timeout=MAX_UNSEEN_S * 1000)
    expect(page.get_by_role("link", name="test_event")).to_have_count(0)
    page.goto("about:blank")
    assert [text for text in visit.problems if "/console/live/stream" not in text] == []
    assert visit.hosts == {urlsplit(pipeline.base_url).netloc}


def test_a_page_without_a_stream_shows_events_all_the_same(pipeline: Pipeline, opened: Opener) -> None:
    visit = signed_in(opened)
    visit.page.route("**/console/live/stream*", lambda route: route.fulfill(status=503))
    visit.page.goto("/console/live")
    expect(visit.page.get_by_text("Events show every two seconds.")).to_be_visible()
    pipeline.ask("/track", {"event": "console_polled", "distinct_id": "console_live"})
    expect(visit.page.get_by_role("link", name="console_polled")).to_be_visible(timeout=10_000)


def test_a_person_of_the_clickstream(pipeline: Pipeline, opened: Opener) -> None:
    page = signed_in(opened).page
    (event,) = pipeline.ask(
        "/query/events", {"since": "2024-01-01", "until": "2024-07-01", "filter": {"event": "purchase"}, "limit": 1}
    )["events"]
    known = person(pipeline, event["person_id"])
    page.get_by_role("searchbox", name="Find a person").fill(event["person_id"])
    page.keyboard.press("Enter")
    page.get_by_role("link", name=event["person_id"], exact=True).click()
    facts = page.locator("dl.facts").inner_text().split("\n")
    assert int(facts[facts.index("Events") + 1].replace("\u202f", "")) == known["events"]
    shown = page.locator("table.events tbody tr").count()
    assert shown == min(50, known["events"])
    while page.get_by_role("link", name="Earlier").count():
        page.get_by_role("link", name="Earlier").click()
        shown += page.locator("table.events tbody tr").count()
    assert shown == known["events"]


def test_a_group_and_its_members(opened: Opener) -> None:
    page = signed_in(opened).page
    page.goto("/console/groups")
    page.get_by_role("link", name="console_company").click()
    expect(page.get_by_role("row").filter(has_text="acme")).to_contain_text("seats 12")
    page.get_by_role("link", name="acme").click()
    expect(page.get_by_role("region", name="Members")).to_contain_text("console_bob")
    page.get_by_role("region", name="Members").get_by_role("link", name="console_bob").click()
    expect(page.get_by_role("region", name="Traits")).to_contain_text("Bob Lovelace")
    expect(page.get_by_role("region", name="Ids")).to_contain_text("console_bob_phone")


def test_deleting_a_person(pipeline: Pipeline, opened: Opener) -> None:
    who = "console_gone"
    pipeline.ask("/track", {"event": "console_opened", "distinct_id": who})
    eventually(lambda: person(pipeline, who), lambda found: found.get("events") == 1)
    page = signed_in(opened).page
    page.goto(f"/console/person?id={who}")
    page.get_by_role("link", name="Delete").click()
    page.get_by_label("To confirm").fill("somebody else")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("Nothing was deleted")).to_be_visible()
    assert person(pipeline, who)
    page.get_by_label("To confirm").fill(who)
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("heading", name="Deletion")).to_be_visible()
    eventually(lambda: person(pipeline, who), lambda found: not found)
    # The page looks again by itself.
    expect(page.get_by_text("Done: the data are rewritten")).to_be_visible(timeout=30_000)


def test_scripts_in_names_properties_and_traits_do_not_run(pipeline: Pipeline, opened: Opener) -> None:
    visit = signed_in(opened)
    ran: list[Dialog] = []
    visit.page.on("dialog", ran.append)
    event = {"event": SCRIPT, "distinct_id": SCRIPT, "properties": {SCRIPT: SCRIPT}}
    pipeline.ask("/track", event)
    pipeline.ask("/identify", {"distinct_id": SCRIPT, "traits": {SCRIPT: SCRIPT}})
    pipeline.ask(
        "/group", {"distinct_id": SCRIPT, "group_type": SCRIPT, "group_key": SCRIPT, "traits": {SCRIPT: SCRIPT}}
    )
    expect(visit.page.get_by_role("link", name=SCRIPT).first).to_be_visible()
    visit.page.get_by_role("link", name=SCRIPT).first.click()
    expect(visit.page.get_by_role("dialog")).to_contain_text("onerror")
    found = visit.page.request.get(f"{pipeline.base_url}/console/people", params={"q": SCRIPT})
    assert found.status == 200
    for path, params in {
        "person": {"id": SCRIPT},
        "group": {"type": SCRIPT, "key": SCRIPT},
        "groups": {"type": SCRIPT},
        "catalog": {"event": SCRIPT},
        "live": {"event": SCRIPT, "person": SCRIPT, "property": SCRIPT, "value": SCRIPT},
    }.items():
        eventually(
            lambda path=path, params=params: (
                visit.page.request.get(  # type: ignore[misc]
                    f"{pipeline.base_url}/console/{path}", params=params
                ).status
            ),
            lambda status: status == 200,
        )
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items())
        visit.page.goto(f"/console/{path}?{query}")
        assert SCRIPT in visit.page.locator("main").inner_text() or path == "live"
        assert visit.page.locator("img[src=x]").count() == 0
    assert ran == []
    assert [text for text in visit.problems if "/console/live/stream" not in text] == []
