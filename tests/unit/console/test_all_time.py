"""All time: in the days that the data has at each look; what is kept goes on, people are those of the number."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.fakes.console_api import EMPTY_CATALOG, READER, FakeApi, browser, token_of

TIMES = {"first_seen": "2024-01-04T08:00:00Z", "last_seen": "2024-06-29T23:00:00Z"}
WEEKS = {
    "matrix": [[10, 4], [3]],
    "interval": "week",
    "periods": ["2024-01-01T00:00:00Z", "2024-01-08T00:00:00Z"],
    "complete": [True, True],
}
FUNNEL = {
    "order": "ordered",
    "window": {"since": "1970-01-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"},
    "steps": [
        {
            "event": "a",
            "people": 12,
            "drop_off": 0,
            "conversion_from_start": 1.0,
            "conversion_from_before": None,
            "median_seconds": None,
            "p90_seconds": None,
        }
    ],
}
BOARD: dict[str, Any] = {
    "dashboard_id": "d",
    "name": "Shop",
    "created_at": TIMES["first_seen"],
    "updated_at": TIMES["first_seen"],
    "version": 1,
}
RETENTION = "born=buy&back=buy&range=all&tz=UTC"


def catalog(last: str, **more: Any) -> tuple[int, Any]:
    event = {"event": "buy", "events": 1, "people": 1, **TIMES, "last_seen": last}
    return 200, {**EMPTY_CATALOG, "built_at": last, "events": [event], **more}


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.answers |= {
        ("POST", "/query/catalog"): catalog(TIMES["last_seen"]),
        ("POST", "/query/retention"): (200, WEEKS),
        ("POST", "/query/funnel"): (200, FUNNEL),
        ("POST", "/query/people"): (200, {"count": 4, "people": []}),
        ("POST", "/dashboard/create"): (200, BOARD | {"queries": []}),
    }
    return api


def asked(api: FakeApi, path: str) -> Any:
    return [body for _, where, body in api.asked if where == path][-1]


async def test_it_stays_in_the_form_and_is_asked_in_days(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        page = (await client.get(f"/console/retention?{RETENTION}&since=2020-01-01")).text
    body = asked(api, "/query/retention")
    assert (body["since"], body["until"]) == ("2024-01-04", "2024-06-30")
    assert "interval" not in body
    assert '<option value="all" selected>' in page
    assert "All time: the data is from 4 Jan to 29 Jun 2024" in page
    kept = re.search(r'name="query" value="([^"]*)"', page)
    assert kept is not None
    assert parse_qs(html.unescape(kept[1]))["range"] == ["all"]


@pytest.mark.parametrize("is_old", [True, False])
async def test_a_later_event_is_in_a_tile(api: FakeApi, is_old: bool) -> None:
    """What is kept says all time; its days are those of when it is looked at."""
    async with browser(api, READER) as client:
        token = token_of((await client.get("/console/retention")).text)
        form = {"csrf": token, "kind": "retention", "query": RETENTION, "name": "Shop"}
        await client.post("/console/dashboards/save", data=form)
        (query,) = asked(api, "/dashboard/create")["queries"]
        assert "since" not in query
        api.answers["GET", "/dashboard/get/d"] = (200, BOARD | {"queries": [query]})
        now = datetime.now(UTC)
        # It came in now: the catalog has it, or says that it does not have all.
        api.answers["POST", "/query/catalog"] = (
            catalog(TIMES["last_seen"], building=True) if is_old else catalog(now.isoformat())
        )
        page = (await client.get("/console/dashboards/d")).text
        sent = re.search(r'data-query="([^"]*)"', page)
        assert sent is not None
        tile = await client.post("/console/dashboards/tiles", data={"csrf": token, "query": html.unescape(sent[1])})
    assert tile.status_code == 200
    body = asked(api, "/query/retention")
    assert (body["since"], body["until"]) == ("2024-01-04", (now.date() + timedelta(days=1)).isoformat())
    assert body["interval"] == "week"
    assert "range=all" in page


@pytest.mark.parametrize(("days", "last"), [(100, "990d"), (900, "990w"), (9000, "9999months")])
async def test_what_is_kept_is_a_window_that_the_api_answers(api: FakeApi, days: int, last: str) -> None:
    end = datetime(2024, 1, 4, tzinfo=UTC) + timedelta(days=days)
    api.answers["POST", "/query/catalog"] = catalog(end.isoformat())
    async with browser(api, READER) as client:
        token = token_of((await client.get("/console/retention")).text)
        form = {"csrf": token, "kind": "retention", "query": RETENTION, "name": "Shop"}
        await client.post("/console/dashboards/save", data=form)
    (query,) = asked(api, "/dashboard/create")["queries"]
    assert query["last"] == last
    assert query.get("interval") == {"990d": None, "990w": "week", "9999months": "month"}[last]


async def test_what_has_no_time_buckets_is_asked_as_it_is(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        page = (await client.get("/console/funnel?s.0.event=a&s.1.event=b&range=all")).text
    assert asked(api, "/query/funnel") == {"steps": [{"event": "a"}, {"event": "b"}], "last": "9999months"}
    assert "1970" not in page


async def test_people_are_those_of_the_number(api: FakeApi) -> None:
    """Also when the days, and so the place of each cohort, are others by then."""
    async with browser(api, READER) as client:
        page = (await client.get(f"/console/retention?{RETENTION}")).text
        hidden = re.findall(
            r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.partition('class="numbers"')[2]
        )
        pairs = [(name, html.unescape(value)) for name, value in hidden]
        api.answers["POST", "/query/catalog"] = catalog(datetime.now(UTC).isoformat())
        people = await client.get(f"/console/retention/people?{urlencode([*pairs, ('cell', 'c=0&o=1')])}")
        query = asked(api, "/query/people")["query"]
        csv = re.search(r'href="(/console/retention/csv[^"]*)"', page)
        assert csv is not None
        await client.get(html.unescape(csv[1]))
    assert (query["since"], query["until"]) == ("2024-01-04", "2024-06-30")
    back = re.search(r'class="button" href="([^"]*)">Back', people.text)
    assert back is not None
    assert parse_qs(urlsplit(html.unescape(back[1])).query)["range"] == ["all"]
    assert asked(api, "/query/retention")["until"] > "2026"


async def test_a_dashboard_has_it_as_its_range(api: FakeApi) -> None:
    query = {"type": "retention", "born_event": "buy", "return_event": "buy", "last": "7d"}
    api.answers["GET", "/dashboard/get/d"] = (200, BOARD | {"queries": [query]})
    async with browser(api, READER) as client:
        page = (await client.get("/console/dashboards/d?range=all&all=1")).text
    assert asked(api, "/query/retention")["since"] == "2024-01-04"
    assert '<option value="all" selected>' in page
    assert "2024-06-30" in page.partition("/dashboard/run/d")[2]
