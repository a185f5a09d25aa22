"""Live events, people and groups of the console in a real browser, with the numbers of the API."""

import time
import uuid
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.support.browser import Visit, chromium, windows
from tests.support.console import fill, person, signed_in
from tests.support.pipeline import Pipeline, eventually

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
MAX_UNSEEN_S = 3.0
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"
# Addresses of groups have no slash in the type.
TYPE = "<img src=x onerror=alert(3)>"


@pytest.fixture(scope="module")
def visit(pipeline: Pipeline) -> Iterator[Visit]:
    """Signed in. At the end of all: nothing went wrong in the browser, and it asked nobody else."""
    fill(pipeline)
    with windows(pipeline.base_url) as opened:
        window = signed_in(opened)
        yield window
        window.page.goto("about:blank")
        # Streams that a page had when it was left; a form that was refused.
        expected = ("/console/live/stream", "status of 400")
        problems = [text for text in window.problems if not any(part in text for part in expected)]
        assert problems == []
        assert window.hosts == {urlsplit(pipeline.base_url).netloc}


def counts_by_receipt(page: Page, since_opened: int) -> None:
    """Rows of before are no news; the last minute is what the list shows of it, or more where the list was cut."""
    expect(page.locator("#in-all")).to_have_text(str(since_opened))
    rows = (
        "[...document.querySelectorAll('#events time')].filter(t => Date.parse(t.dateTime) > Date.now() - 60000).length"
    )

    def agree() -> bool:
        page.wait_for_timeout(300)
        said = page.locator("#per-minute").inner_text().removeprefix("more than ")
        in_list: int = page.evaluate(rows)
        # The list has at most 200 rows.
        return min(int(said.replace("\u202f", "")), 200) == in_list >= since_opened

    eventually(agree, bool)


def test_an_event_shows_within_seconds_of_its_2xx(pipeline: Pipeline, visit: Visit) -> None:
    page, tag = visit.page, uuid.uuid4().hex[:8]
    page.goto("/console/live")
    expect(page.get_by_text("Events show as they come in.")).to_be_visible()
    counts_by_receipt(page, 0)
    for number in range(3):
        name = f"{tag}_{number}"
        pipeline.ask("/track", {"event": name, "distinct_id": "console_live", "properties": {"number": number}})
        began = time.monotonic()
        expect(page.get_by_role("link", name=name)).to_be_visible(timeout=MAX_UNSEEN_S * 1000)
        assert time.monotonic() - began < MAX_UNSEEN_S
    counts_by_receipt(page, 3)
    page.get_by_role("link", name=f"{tag}_1").click()
    expect(page.get_by_role("dialog")).to_contain_text('"number": 1')
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Pause").click()
    pipeline.ask("/track", {"event": f"{tag}_paused", "distinct_id": "console_live"})
    page.get_by_role("button", name="Go on (1 new)").click()
    expect(page.get_by_role("link", name=f"{tag}_paused")).to_be_visible()

    page.get_by_label("Property").fill("number")
    page.get_by_label("Operator").select_option("above")
    page.get_by_label("Value").fill("1")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("link", name=f"{tag}_2")).to_be_visible()
    expect(page.get_by_role("link", name=f"{tag}_0")).to_have_count(0)
    assert urlsplit(page.url).query == "property=number&op=gt&value=1"
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_text("Accepted.")).to_be_visible()
    pipeline.ask("/track", {"event": f"{tag}_more", "distinct_id": "console_live", "properties": {"number": 7}})
    expect(page.get_by_role("link", name=f"{tag}_more")).to_be_visible(timeout=MAX_UNSEEN_S * 1000)
    expect(page.get_by_role("link", name="test_event")).to_have_count(0)


def test_a_page_without_a_stream_shows_events_all_the_same(pipeline: Pipeline, visit: Visit) -> None:
    page, name = visit.page, f"polled_{uuid.uuid4().hex[:8]}"
    refused = 'event: problem\ndata: "At most 10 streams of a project are open at once."\n\n'
    page.route("**/console/live/stream*", lambda route: route.fulfill(body=refused, content_type="text/event-stream"))
    page.goto("/console/live")
    expect(page.get_by_text("Events show every two seconds.")).to_be_visible()
    pipeline.ask("/track", {"event": name, "distinct_id": "console_live"})
    expect(page.get_by_role("link", name=name)).to_be_visible(timeout=10_000)
    page.unroute("**/console/live/stream*")


def test_a_person_of_the_clickstream(pipeline: Pipeline, visit: Visit) -> None:
    page = visit.page
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


def test_a_group_and_its_members(visit: Visit) -> None:
    page = visit.page
    company = page.get_by_role("link", name="console_company")

    def counted() -> int:
        page.goto("/console/groups")
        return company.count()

    eventually(counted, bool)  # types of groups are counted in the background
    company.click()
    expect(page.get_by_role("row").filter(has_text="acme")).to_contain_text("seats 12")
    page.get_by_role("link", name="acme").click()
    expect(page.get_by_role("region", name="Members")).to_contain_text("console_bob")
    page.get_by_role("region", name="Members").get_by_role("link", name="console_bob").click()
    expect(page.get_by_role("region", name="Traits")).to_contain_text("Bob Lovelace")
    expect(page.get_by_role("region", name="Ids")).to_contain_text("console_bob_phone")


def test_deleting_a_person(pipeline: Pipeline, visit: Visit) -> None:
    who = f"console_gone_{uuid.uuid4().hex[:8]}"
    pipeline.ask("/track", {"event": "console_opened", "distinct_id": who})
    eventually(lambda: person(pipeline, who), lambda found: found.get("events") == 1)
    page = visit.page
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


def test_scripts_in_names_properties_and_traits_do_not_run(pipeline: Pipeline, visit: Visit) -> None:
    ran: list[Dialog] = []
    visit.page.on("dialog", lambda dialog: ran.append(dialog))
    event = {"event": SCRIPT, "distinct_id": SCRIPT, "properties": {SCRIPT: SCRIPT}}
    pipeline.ask("/identify", {"distinct_id": SCRIPT, "traits": {SCRIPT: SCRIPT}})
    pipeline.ask("/group", {"distinct_id": SCRIPT, "group_type": TYPE, "group_key": SCRIPT, "traits": {SCRIPT: SCRIPT}})
    pipeline.ask("/track", event)  # last: events before it are not the group's
    visit.page.goto("/console/live")
    expect(visit.page.get_by_role("link", name=SCRIPT).first).to_be_visible()
    visit.page.get_by_role("link", name=SCRIPT).first.click()
    expect(visit.page.get_by_role("dialog")).to_contain_text("onerror")
    found = visit.page.request.get(f"{pipeline.base_url}/console/people", params={"q": SCRIPT})
    assert found.status == 200
    for path, params in {
        "person": {"id": SCRIPT},
        "group": {"type": TYPE, "key": SCRIPT},
        "groups": {"type": TYPE},
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

        def shown(address: str = f"/console/{path}?{query}") -> str:
            visit.page.goto(address)
            return visit.page.locator("main").inner_text()

        eventually(shown, lambda text: SCRIPT in text or path == "live")  # noqa: B023 it is done before the next one
        assert visit.page.locator("img[src=x]").count() == 0
    assert ran == []
