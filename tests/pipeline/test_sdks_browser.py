"""The browser SDKs, unmodified, in Chromium, from a page of another origin, through the whole pipeline."""

from functools import partial
from typing import Any

import pytest

from tests.pipeline.test_behaviour import unique
from tests.support.browser import chromium, window
from tests.support.pipeline import Pipeline, eventually
from tests.support.sdks.pages import PAGES, pages
from tests.support.sdks.running import install, missing_because, modules

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def tags(pipeline: Pipeline, ingest_key: str) -> dict[str, str]:
    """By SDK. All pages are open at once, until everything is stored."""
    if not install():
        pytest.skip(f"not run: {missing_because()}")
    told = {name: unique(name.rpartition("/")[2]) for name in PAGES}
    with pages(modules()) as address, window(address) as visit:
        for name, (script, story) in PAGES.items():
            browser = visit.page.context.browser
            assert browser is not None
            page = browser.new_page()
            page.goto(f"{address}/")
            if script:
                page.add_script_tag(url=f"/{name}/{script}")
            page.evaluate(story, [pipeline.base_url, ingest_key, told[name]])
        for tag in told.values():
            eventually(partial(stored, pipeline, tag), lambda events: len(events) >= 3, within_s=40)
        # Of those whose events are there: the traits behind them.
        visit.page.wait_for_timeout(1500)
    return told


def stored(pipeline: Pipeline, tag: str) -> list[dict[str, Any]]:
    query = {"since": "2020-01-01", "until": "2100-01-01", "filter": {"tag": tag}}
    return sorted(pipeline.walk(query), key=lambda event: event["properties"]["n"])


@pytest.mark.parametrize("name", list(PAGES))
def test_each_event_is_stored_once_on_the_right_person(pipeline: Pipeline, tags: dict[str, str], name: str) -> None:
    tag = tags[name]
    seen, bought, left = stored(pipeline, tag)
    assert [one["event"] for one in (seen, bought, left)] == ["seen", "bought", "left"]
    assert seen["properties"]["text"] == "ü😀"
    assert (bought["distinct_id"], left["distinct_id"]) == (f"{tag}_ada", f"{tag}_bob")
    ada, bob = (pipeline.client.get(f"/persons/{tag}_{who}").json() for who in ("ada", "bob"))
    assert {seen["distinct_id"], f"{tag}_ada"} <= set(ada["distinct_ids"])
    assert f"{tag}_bob" not in ada["distinct_ids"]
    assert seen["distinct_id"] not in bob["distinct_ids"]
    assert (ada["traits"].get("plan"), bob["traits"].get("plan")) == ("pro", "free")
