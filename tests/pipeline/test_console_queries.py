"""Each query is built by clicking, on the shop's clickstream; the page says the API's numbers. An address is a report."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Response, expect

from tests.support.browser import Visit, chromium
from tests.support.console import signed_in
from tests.support.console_queries import (
    QUERY_PAGES,
    SHOP,
    WINDOW,
    board,
    choose_window,
    console_of,
    fresh,
    more,
    rows_of,
    shown_number,
)
from tests.support.pipeline import KEY, Pipeline, eventually

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
EVIL = "<img src=x onerror=window.evil=1>"


@pytest.fixture(scope="module")
def visit(pipeline: Pipeline) -> Iterator[Visit]:
    with console_of(pipeline) as opened:
        yield opened


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit.page


def show(page: Page) -> None:
    page.get_by_role("button", name="Show").last.click()
    page.locator("#result").wait_for()


def test_trends(pipeline: Pipeline, visit: Visit, page: Page) -> None:
    page.goto("/console/trends")
    page.get_by_label("Event", exact=True).first.fill("home")
    page.get_by_label("Count", exact=True).select_option("people")
    page.get_by_role("button", name="Add an event").click()
    page.get_by_label("Event 2", exact=True).fill("purchase")
    page.get_by_role("button", name="Filter of this event").last.click()
    page.get_by_label("Property", exact=True).locator("visible=true").first.fill("platform")
    page.get_by_label("Operator").last.select_option("in")
    page.get_by_label("Value", exact=True).last.fill("web, ios, android, mobile, desktop")
    choose_window(page)
    page.get_by_label("By", exact=True).select_option("month")
    page.get_by_label("Break down by").fill("acquisition_channel")
    more(page)
    page.get_by_label("Top values").fill("3")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    show(page)
    body = {
        **WINDOW,
        "timezone": "Europe/Berlin",
        "interval": "month",
        "breakdown": "acquisition_channel",
        "top": 3,
        "series": [
            {"event": "home", "measure": "people"},
            {"event": "purchase", "filter": {"platform": ["web", "ios", "android", "mobile", "desktop"]}},
        ],
    }
    answer = pipeline.ask("/query/trends", body)
    lines = [line["values"] for series in answer["series"] for line in series["lines"]]
    _, *rows = rows_of(page.locator(".figures"))
    assert [row[1:] for row in rows] == [list(map(shown_number, numbers)) for numbers in zip(*lines, strict=True)]
    assert sum(map(sum, lines)) > 0
    assert page.locator(".chart g").count() == len(lines)
    # The address is the report: in another browser it asks to sign in, and then says the same.
    context = fresh(visit, pipeline)
    other = context.new_page()
    other.goto(page.url)
    other.get_by_label("key").first.fill(KEY)
    other.keyboard.press("Enter")
    other.locator("#result").wait_for()
    assert rows_of(other.locator(".figures"))[1:] == rows
    context.close()


def test_a_number_and_a_point_of_the_picture_lead_to_people(pipeline: Pipeline, page: Page) -> None:
    page.goto(f"/console/trends?s.0.event=purchase&s.0.measure=people&interval=month&{SHOP}")
    number = page.locator(".figures tbody tr").nth(1).locator("button.n")
    count = number.inner_text()
    number.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{count} people")
    body = {"type": "trends", "series": [{"event": "purchase", "measure": "people"}], "interval": "month"}
    ask = {"query": {**body, **WINDOW, "timezone": "UTC"}, "cell": {"bucket": 0}}
    people = pipeline.ask("/query/people", ask)
    assert [row[0] for row in rows_of(page.locator("table"))] == [one["person_id"] for one in people["people"]]
    page.go_back()
    box = page.locator(".chart .plot").bounding_box()
    assert box is not None
    # The first point stands at the left edge. It is said before it is pressed.
    page.mouse.move(box["x"] + 2, box["y"] + 20)
    expect(page.locator(".tip")).to_contain_text("Jan 2024")
    expect(page.locator(".tip .nearest td").nth(2)).to_have_text(count)
    page.mouse.click(box["x"] + 2, box["y"] + 20)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{count} people")


def test_funnel_by_keyboard_alone(pipeline: Pipeline, page: Page) -> None:
    page.goto("/console/")
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url("**/console/funnel")
    page.get_by_label("Step 1").focus()
    page.keyboard.type("home")
    page.get_by_label("Step 2").focus()
    page.keyboard.type("purchase")
    page.get_by_label("When", exact=True).focus()
    page.keyboard.type("From")
    page.keyboard.press("Tab")
    page.keyboard.type(WINDOW["since"])
    page.keyboard.press("Tab")
    page.keyboard.type(WINDOW["until"])
    page.keyboard.press("Enter")
    page.locator("#result").wait_for()
    zone = parse_qs(urlsplit(page.url).query)["tz"][0]
    answer = pipeline.ask(
        "/query/funnel", {**WINDOW, "timezone": zone, "steps": [{"event": "home"}, {"event": "purchase"}]}
    )
    rows = rows_of(page.locator(".figures"))
    assert [(row[1], row[4]) for row in rows] == [
        (str(step["people"]), str(step["drop_off"])) for step in answer["steps"]
    ]
    assert answer["steps"][1]["people"] > 0
    assert page.locator(".funnel li").count() == 2
    page.locator(".funnel button.n").nth(1).press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{answer['steps'][0]['drop_off']} people")


def test_retention(pipeline: Pipeline, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/console/retention")
    page.get_by_label("They begin with").fill("home")
    page.get_by_label("They come back with").fill("*")
    page.get_by_label("When", exact=True).last.select_option("custom")
    choose_window(page, until="2024-03-01")
    page.get_by_label("By", exact=True).select_option("week")
    page.get_by_label("Only who never did it before").check()
    more(page)
    page.get_by_label("Time zone").fill("UTC")
    show(page)
    body = {"born_event": "home", "return_event": None, "first_time": True, "interval": "week", "timezone": "UTC"}
    answer = pipeline.ask("/query/retention", {**body, "since": WINDOW["since"], "until": "2024-03-01"})
    _, *rows = rows_of(page.locator(".figures"))
    numbers = [[int(text) for text in row[1:] if text] for row in rows]
    # Weeks in which nobody began are left out, and columns in which nobody came back.
    begun = [row for row in answer["matrix"] if row[0]]
    width = 1 + max(offset for row in begun for offset, back in enumerate(row) if back)
    assert numbers == [row[:width] for row in begun]
    assert sum(row[1] for row in answer["matrix"] if len(row) > 1) > 0
    assert not any("charts" in address for address in asked)


def test_paths(pipeline: Pipeline, page: Page) -> None:
    page.goto("/console/paths")
    page.get_by_label("Start", exact=True).fill("home")
    page.get_by_label("Steps", exact=True).fill("2")
    page.get_by_label("Ways a step").fill("4")
    page.get_by_label("Skip repeats").check()
    choose_window(page)
    show(page)
    body = {"start_event": "home", "max_depth": 2, "top": 4, "collapse_repeats": True}
    answer = pipeline.ask("/query/path", {**WINDOW, **body, "timezone": "Etc/UTC"})

    def tree(node: dict[str, Any], name: str) -> list[list[str]]:
        below = [row for child in node["children"] for row in tree(child, child["event"])]
        return [[name, str(node["count"]), str(node["drop_off"] or ""), str(node["other"] or "")], *below]

    rows = rows_of(page.locator(".figures"))
    assert [[row[0], row[1], row[3], row[5]] for row in rows] == tree(answer, "home")
    # A stream leads to who went there.
    first = answer["children"][0]
    stream = page.locator(".stream").filter(has_text=f"home → {first['event']}: ")
    stream.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{first['count']} people".replace(",", ""))


def test_a_cohort_is_saved_and_used(pipeline: Pipeline, page: Page) -> None:
    page.goto("/console/cohorts")
    page.get_by_label("Rule", exact=True).select_option("did")
    page.get_by_label("Event", exact=True).fill("purchase")
    choose_window(page)
    page.get_by_label("Times", exact=True).fill("2")
    show(page)
    rule = {"did": "purchase", **WINDOW, "at_least": 2}
    size = pipeline.ask("/query/cohort", {"cohort": rule})["size"]
    expect(page.locator(".size a")).to_have_text(str(size))
    page.get_by_text("Save under a name").click()
    page.get_by_label("Name of the cohort").fill("Buys again")
    page.get_by_label("Name of the cohort").press("Enter")
    page.wait_for_url("**c.0.kind=saved**")
    expect(page.locator(".size a")).to_have_text(str(size))
    assert pipeline.client.get("/cohorts/Buys again").json()["cohort"] == rule
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("row", name="Buys again").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    assert pipeline.client.get("/cohorts/Buys again").status_code == 404


def test_typing_asks_for_suggestions_alone(visit: Visit, page: Page) -> None:
    page.goto("/console/trends")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.get_by_label("Event", exact=True).first.press_sequentially("purchase")
    # Also a row that says nothing yet stays when another one comes.
    for count in (1, 2):
        page.get_by_role("button", name="Filter of this event").click()
        expect(page.locator(".filter")).to_have_count(count)
    field = page.get_by_label("Property", exact=True).locator("visible=true").first
    field.click()
    expect(page.locator('#keys option[value="platform"]')).to_be_attached()
    field.fill("platform")
    page.get_by_label("Value", exact=True).first.click()
    expect(page.locator("#values option").first).to_be_attached()
    page.get_by_label("Value", exact=True).first.press_sequentially("web")
    # The rows came from the form's own page, which asks nothing.
    asked = [path for path in asked if not path.startswith("/console/assets/")]
    assert set(asked) == {"/console/suggest", "/console/trends"}
    assert asked.count("/console/trends") == 2


def test_where_nobody_suggests_names_are_typed(pipeline: Pipeline, visit: Visit) -> None:
    context = fresh(visit, pipeline)
    own = signed_in(lambda: Visit(context.new_page()))
    page = own.page
    page.route("**/console/suggest?*", lambda route: route.abort())
    page.goto("/console/trends")
    page.get_by_label("Event", exact=True).first.fill("purchase")
    page.get_by_role("button", name="Filter of this event").click()
    field = page.get_by_label("Property", exact=True).locator("visible=true").first
    with page.expect_event("requestfailed"):
        field.click()
    page.unroute("**/console/suggest?*")
    field.fill("platform")
    # It is asked again the next time.
    page.get_by_label("Value", exact=True).first.click()
    expect(page.locator("#values option").first).to_be_attached()
    assert [problem for problem in own.problems if problem.startswith("exception")] == []
    context.close()


def test_an_error_stands_at_its_field(page: Page) -> None:
    page.goto("/console/trends?s.0.event=home&range=last:7d")
    more(page)
    page.get_by_label("Time zone").fill("Nowhere/Here")
    page.get_by_role("button", name="Show").last.click()
    wrong = page.locator("#wrong")
    expect(wrong).to_contain_text("Nowhere/Here")
    expect(page.get_by_label("Time zone")).to_have_attribute("aria-invalid", "true")
    assert wrong.locator("xpath=..").locator("input").get_attribute("name") == "tz"


def test_nothing_found_leads_to_the_time_of_the_data(page: Page) -> None:
    page.goto("/console/trends?s.0.event=purchase&range=last:7d&tz=UTC")
    page.get_by_role("link", name="Show that time").click()
    page.locator(".chart .plot").wait_for()
    count = page.locator(".figures .sum button").inner_text()
    page.goto("/console/trends?s.0.event=purchase&range=all&tz=UTC")
    expect(page.locator(".figures .sum button")).to_have_text(count)
    page.locator(".chart .plot").wait_for()


def test_a_result_stands_high_on_the_page_and_the_form_folds_on_a_phone(visit: Visit, page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    for name in ("trends", "funnel", "retention", "paths"):
        page.goto(QUERY_PAGES[name].replace("&s.1.event=purchase&interval", "&interval"))
        box = page.locator("#result").bounding_box()
        assert box is not None
        assert box["y"] < 430, name
        expect(page.locator("#builder")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.locator("#builder")).to_be_hidden()
    page.locator(".fold > summary").click()
    expect(page.get_by_label("Start", exact=True)).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 900})


def test_without_script(pipeline: Pipeline, visit: Visit) -> None:
    context = fresh(visit, pipeline, java_script_enabled=False)
    page = context.new_page()
    page.goto("/console/funnel")
    page.get_by_label("key").first.fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Step 1").fill("home")
    page.get_by_role("button", name="Add a step").click()
    page.get_by_label("Step 3").fill("purchase")
    page.get_by_label("Step 2").fill("product_view")
    choose_window(page)
    show(page)
    assert page.locator(".funnel li").count() == 3
    page.locator(".funnel button.n").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("people")
    context.close()


@pytest.mark.parametrize(
    ("scheme", "width", "rules", "names"),
    [
        ("light", 360, {}, [*QUERY_PAGES, "dashboard"]),
        # What a page says does not depend on its colours.
        ("dark", 1280, {"runOnly": ["color-contrast"]}, ["trends-wrong", "funnel", "retention", "dashboard"]),
    ],
)
def test_pages_fit_and_can_be_read_by_all(
    pipeline: Pipeline, visit: Visit, scheme: str, width: int, rules: dict[str, Any], names: list[str]
) -> None:
    browser = visit.page.context.browser
    assert browser is not None
    options = {"base_url": pipeline.base_url, "viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    page = signed_in(lambda: Visit(browser.new_page(**options))).page  # type: ignore[arg-type]
    pages = {**QUERY_PAGES, "dashboard": board(pipeline)}
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    for name in names:
        answers.clear()
        answer = page.goto(pages[name])
        assert answer is not None
        assert answer.status == 200, name
        expect(page.locator("[data-tile]:not([data-loaded])")).to_have_count(0)
        # Of what the browser has kept less than nothing is counted: its heads.
        sizes = [max(0, each.request.sizes()["responseBodySize"]) for each in answers]
        assert sum(sizes) < 100_000, f"{name}: {sum(sizes)} bytes with scripts, styles and tiles"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        found = Axe().run(page, options=rules)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    page.close()


def test_no_name_is_a_script(pipeline: Pipeline, page: Page) -> None:
    who = {"distinct_id": EVIL, "timestamp": "2023-05-01T00:00:00Z"}
    events = [{"event": EVIL, **who, "properties": {EVIL: EVIL}}, {"event": EVIL, **who, "properties": {"p": EVIL}}]
    assert pipeline.ask("/batch", {"events": events})["ok"]
    body = {"since": "2023-05-01", "until": "2023-05-02", "series": [{"event": EVIL}]}
    eventually(
        lambda: pipeline.ask("/query/trends", body)["series"][0]["lines"][0]["values"], lambda found: found == [2]
    )
    when = "range=custom&since=2023-05-01&until=2023-05-03&tz=UTC"
    name = "%3Cimg+src%3Dx+onerror%3Dwindow.evil%3D1%3E"
    for address in (
        f"trends?s.0.event={name}&breakdown=p&{when}",
        f"trends?s.0.event={name}&breakdown=p&range=custom&since=2023-05-01&until=2023-05-02&tz=UTC",
        f"paths?start={name}&{when}",
        f"funnel?s.0.event={name}&s.1.event={name}&breakdown=p&{when}",
        f"retention?born={name}&back={name}&breakdown=p&{when}",
        f"trends/people?s.0.event={name}&{when}",
        f"trends?s.0.event={name}&f.0.key={name}&f.0.op=gt&f.0.value=true&{when}",
    ):
        page.goto(f"/console/{address}")
        if page.locator(".chart").count():
            page.locator(".chart").hover()
        assert page.evaluate("window.evil") is None, address
        assert page.locator('img[src="x"]').count() == 0
        expect(page.locator("main").get_by_text(EVIL).first).to_be_attached()
