"""A dashboard in a browser: made of queries, changed, looked at under one range, deleted."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from tests.support.browser import Visit, chromium
from tests.support.console_queries import SHOP, WINDOW, console_of, rows_of
from tests.support.pipeline import Pipeline

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
EVIL = "<img src=x onerror=window.evil=1>"


@pytest.fixture(scope="module")
def visit(pipeline: Pipeline) -> Iterator[Visit]:
    with console_of(pipeline) as opened:
        yield opened


def save(page: Page, title: str, dashboard: str = "", name: str = "") -> None:
    page.get_by_text("Save to dashboard").click()
    page.get_by_label("Title of the tile").fill(title)
    if dashboard:
        page.get_by_label("Dashboard", exact=True).select_option(label=dashboard)
    else:
        page.get_by_label("Dashboard", exact=True).select_option("")
        page.get_by_label("Name of the new one").fill(name)
    page.get_by_role("button", name="Save", exact=True).dblclick(delay=30)
    page.wait_for_url("**/console/dashboards/*")
    loaded(page)


def titles(page: Page) -> list[str]:
    return page.locator(".tile h2").all_inner_texts()


def change(page: Page, tile: str, button: str) -> None:
    """By the menu of a tile."""
    page.get_by_label(f"Change the tile {tile}").click()
    with page.expect_navigation():
        page.locator(".tile", has=page.get_by_role("heading", name=tile)).get_by_role("button", name=button).click()
    loaded(page)


def loaded(page: Page) -> None:
    """A tile whose page is left while it loads is a failed load to the browser."""
    expect(page.locator("[data-tile]:not([data-loaded])")).to_have_count(0, timeout=30_000)


def test_a_dashboard_from_the_first_tile_to_its_end(pipeline: Pipeline, visit: Visit) -> None:
    page = visit.page
    page.goto(f"/console/trends?s.0.event=purchase&interval=month&{SHOP}")
    save(page, "Purchases", name=EVIL)
    page.goto(f"/console/funnel?s.0.event=home&s.1.event=purchase&{SHOP}")
    save(page, "To purchase", dashboard=EVIL)
    page.goto(
        "/console/cohorts?c.0.kind=did&c.0.event=purchase&c.0.range=custom&c.0.since=2024-01-01&c.0.until=2024-07-01"
    )
    save(page, "Buyers", dashboard=EVIL)
    address = page.url
    dashboard_id = address.rpartition("/")[2]
    loaded(page)
    assert titles(page) == ["Purchases", "To purchase", "Buyers"]
    # A tile says what the API says when it runs the dashboard.
    answers = [one["answer"] for one in pipeline.ask(f"/dashboard/run/{dashboard_id}", {})["answers"]]
    first = page.locator("#tile-0")
    first.get_by_text("By month").click()
    values = answers[0]["series"][0]["lines"][0]["values"]
    assert [int(row[1]) for row in rows_of(first.locator(".figures"))] == [sum(values), *values]
    expect(page.locator("#tile-1 .funnel button.n").first).to_have_text(str(answers[1]["steps"][0]["people"]))
    expect(page.locator("#tile-2 .size a")).to_have_text(str(answers[2]["size"]))
    # Moved, resized, named, removed: and the same after it is loaded again.
    change(page, "To purchase", "Move To purchase forward")
    page.get_by_label("Change the tile Buyers").click()
    page.locator("#tile-2").get_by_label("Width").select_option("12")
    page.locator("#tile-2").get_by_label("Title").fill(EVIL)
    with page.expect_navigation():
        page.locator("#tile-2").get_by_label("Title").press("Enter")
    loaded(page)
    assert titles(page) == ["To purchase", "Purchases", EVIL]
    page.reload()
    loaded(page)
    assert titles(page) == ["To purchase", "Purchases", EVIL]
    assert "w12" in (page.locator("#tile-2").get_attribute("class") or "")
    stored = pipeline.client.get(f"/dashboard/get/{dashboard_id}").json()
    assert [query.get("width") for query in stored["queries"]] == [None, None, 12]
    assert stored["queries"][1] == {
        "type": "trends",
        "title": "Purchases",
        "series": [{"event": "purchase"}],
        "interval": "month",
        "timezone": "UTC",
        **WINDOW,
    }
    # One range for all.
    page.get_by_label("Time range", exact=True).select_option("custom")
    page.get_by_label("From", exact=True).fill("2024-01-01")
    page.get_by_label("Before", exact=True).fill("2024-02-01")
    page.locator(".range").get_by_role("button", name="Apply").click()
    page.wait_for_url("**since=2024-01-01**")
    loaded(page)
    override = {"since": "2024-01-01", "until": "2024-02-01"}
    run = pipeline.ask(f"/dashboard/run/{dashboard_id}", override)["answers"]
    expect(page.locator("#tile-0 .funnel button.n").first).to_have_text(str(run[0]["answer"]["steps"][0]["people"]))
    assert run[0]["answer"] != answers[1]
    page.once("dialog", lambda dialog: dialog.accept())
    change(page, "Purchases", "Remove")
    assert titles(page) == ["To purchase", EVIL]
    assert "since=2024-01-01" in page.url
    # Renamed, duplicated, deleted.
    page.get_by_text("Rename, duplicate, delete").click()
    page.get_by_label("Name", exact=True).fill("Shop")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Shop")
    loaded(page)
    page.get_by_text("Rename, duplicate, delete").click()
    page.get_by_role("button", name="Duplicate").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Shop (copy)")
    loaded(page)
    page.goto("/console/dashboards")
    for name in ("Shop (copy)", "Shop"):
        page.once("dialog", lambda dialog: dialog.accept())
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))
        with page.expect_navigation():
            row.get_by_role("button", name="Delete").click()
    assert pipeline.client.get(f"/dashboard/get/{dashboard_id}").status_code == 404
    assert page.evaluate("window.evil") is None


def test_tiles_load_side_by_side_and_a_wrong_one_says_so_alone(pipeline: Pipeline, visit: Visit) -> None:
    good = {"type": "trends", "series": [{"event": "purchase"}], "interval": "month", **WINDOW}
    wide = {"type": "retention", "born_event": None, "return_event": None, "interval": "hour", **WINDOW}
    body = {"name": "Mixed", "queries": [good, wide | {"last": "2h", "since": None, "until": None}, good]}
    dashboard_id = pipeline.ask("/dashboard/create", body)["dashboard_id"]
    page = visit.page
    open_at_once: list[int] = []
    running: set[Request] = set()

    def began(request: Request) -> None:
        if request.url.endswith("/tiles"):
            running.add(request)
            open_at_once.append(len(running))

    page.on("request", began)
    page.on("requestfinished", lambda request: running.discard(request))
    # In hours, half a year is more than the API answers: in that tile alone.
    page.goto(f"/console/dashboards/{dashboard_id}?{SHOP}")
    loaded(page)
    assert max(open_at_once) == 3
    expect(page.locator("#tile-1 [role=alert]")).to_be_visible()
    for number in (0, 2):
        page.locator(f"#tile-{number} .chart .plot").wait_for()
    pipeline.client.delete(f"/dashboard/delete/{dashboard_id}")


def test_all_time_is_kept_as_what_the_api_answers(pipeline: Pipeline, visit: Visit) -> None:
    """Also where the numbers of its answer are many; the tile begins with the data."""
    page = visit.page
    queries = (
        "trends?s.0.event=purchase",
        "retention?born=purchase&back=purchase&interval=week",
        "retention?born=purchase&back=purchase&breakdown=platform&top=100&interval=week",
        "funnel?s.0.event=home&s.1.event=purchase&breakdown=platform",
    )
    for number, query in enumerate(queries):
        page.goto(f"/console/{query}&range=all&tz=UTC")
        page.get_by_text("Save to dashboard").click()
        if number == 0:
            page.get_by_label("Dashboard", exact=True).select_option("")
            # Without a name the browser sends nothing.
            page.get_by_role("button", name="Save", exact=True).click()
            page.get_by_label("Name of the new one").fill("Ever")
        # The one that was kept last is chosen.
        page.get_by_role("button", name="Save", exact=True).click()
        page.wait_for_url("**/console/dashboards/*")
        expect(page.get_by_role("heading", level=1)).to_have_text("Ever")
        loaded(page)
    expect(page.locator(".tile-head p")).to_have_text(["All time"] * 4)
    expect(page.locator(".tile [role=alert]")).to_have_count(0)
    for number in (0, 1, 2):
        page.locator(f"#tile-{number} .chart .plot").wait_for()
    expect(page.locator("#tile-3 .tile-body details[open] summary")).to_have_text("Side by side")
    dashboard_id = page.url.rpartition("/")[2]
    run = pipeline.ask(f"/dashboard/run/{dashboard_id}", {})["answers"]
    assert [answer.get("error") for answer in run] == [None] * 4
    assert run[3]["answer"]["steps"][1]["people"] > 0
    # The whole cell leads to the people of its number.
    page.goto(f"/console/{queries[1]}&range=all&tz=UTC")
    cell = page.locator(".figures tbody tr:not(.sum) td.heat:has(button)").first
    count = cell.locator("small").inner_text()
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] - 3)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{count} people")
    page.get_by_role("link", name="Back to the query").click()
    expect(page.get_by_label("When", exact=True).first).to_have_value("all")
    pipeline.client.delete(f"/dashboard/delete/{dashboard_id}")


def test_a_dashboard_of_another_project_is_not_there(pipeline: Pipeline, visit: Visit) -> None:
    settings = dict(line.split("=", 1) for line in shlex.split((pipeline.data_dir / "env").read_text()))
    command = [sys.executable, "-m", "services.cli", "keys", "create", "--project", "another", "--scope", "query"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)  # noqa: S603
    key = next(word for word in done.stdout.split() if word.startswith("hr_"))
    address = f"{pipeline.base_url}/v1/analytics/dashboard/create"
    headers = {"authorization": f"Bearer {key}"}
    created = httpx.post(address, json={"name": "Secret", "queries": []}, headers=headers, timeout=30).json()
    answer = visit.page.request.get(f"/console/dashboards/{created['dashboard_id']}")
    assert answer.status == 404
    assert "Secret" not in answer.text()
    assert "no such dashboard" in answer.text()
