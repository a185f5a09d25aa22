"""From a person back to the list: of people, or of those behind a number."""

import html
import re
from urllib.parse import quote

import pytest

from tests.fakes.console_api import READER, FakeApi, browser

SEEN = {"first_seen": "2026-03-01T00:00:00Z", "last_seen": "2026-03-02T00:00:00Z"}
PERSON = {"person_id": "x", "distinct_ids": ["x"], "traits": {}, "groups": {}, "links": [], "merges": [], "events": 60}
NUMBER = "/console/retention/people?born=a&range=all%3A2024-01-04%3A2024-06-30&cell=c%3D0"


@pytest.mark.parametrize(
    ("came_from", "back"),
    [
        (f"http://console.test{NUMBER}", NUMBER),
        ("http://console.test/console/people?q=ada", "/console/people?q=ada"),
        ("http://console.test/console/live?event=a", "/console/live?event=a"),
        ("http://console.test/console/catalog", "/console/people"),
        ("https://elsewhere.example/people", "/console/people"),
        ("javascript:/console/people", "/console/people"),
        ("", "/console/people"),
    ],
)
async def test_a_person_leads_back_also_from_the_next_page(came_from: str, back: str) -> None:
    api = FakeApi()
    api.answers |= {
        ("GET", "/persons/x"): (200, PERSON | SEEN),
        ("POST", "/query/events"): (200, {"events": [], "next_cursor": "n"}),
    }
    async with browser(api, READER) as client:
        first = await client.get("/console/person?id=x", headers={"referer": came_from} if came_from else {})
        address = f"/console/person?id=x&back={quote(back_of(first.text))}"
        second = await client.get(address, headers={"referer": "http://console.test/console/person?id=x"})
        evil = await client.get("/console/person?id=x&back=//evil.example/people")
    assert (back_of(first.text), back_of(second.text), back_of(evil.text)) == (back, back, "/console/people")


def back_of(page: str) -> str:
    link = re.search(r'<p class="fine"><a href="([^"]*)">', page)
    assert link is not None
    return html.unescape(link[1])
