"""Builders as pages: what they ask the API, what they show, and where an error stands. Without a browser."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.fakes.console_api import EMPTY_CATALOG, READER, FakeApi, browser, token_of

EVIL = '<script>alert("1")</script>'
TRENDS: dict[str, Any] = {
    "window": {"since": "2026-03-01T00:00:00Z", "until": "2026-03-03T00:00:00Z"},
    "interval": "day",
    "periods": ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"],
    "complete": [True, False],
    "series": [
        {"event": EVIL, "measure": "count", "lines": [{"kind": "value", "value": EVIL, "values": [1200, 7]}]},
    ],
    "warnings": [f"unknown {EVIL}"],
}
ANSWERS: dict[str, Any] = {
    "trends": TRENDS,
    "funnel": {
        "order": "ordered",
        "steps": [
            {
                "event": EVIL,
                "people": 1200,
                "drop_off": 0,
                "conversion_from_start": 1.0,
                "conversion_from_before": None,
                "median_seconds": None,
                "p90_seconds": None,
            }
        ],
    },
    "retention": {
        "matrix": [[1200, 7], [3]],
        "interval": "day",
        "periods": TRENDS["periods"],
        "complete": [True, True],
        "breakdown": [{"kind": "value", "value": EVIL, "matrix": [[1, 0], [2]]}],
    },
    "path": {
        "root": EVIL,
        "count": 1200,
        "drop_off": 0,
        "continued": 0,
        "other": 0,
        "children": [{"event": EVIL, "count": 7, "drop_off": 7, "continued": 0, "other": 0, "children": []}],
    },
    "cohort": {"size": 1200, "people": [EVIL]},
}
ADDRESSES = {
    "trends": "/console/trends?s.0.event=a&range=last:7d",
    "funnel": "/console/funnel?s.0.event=a&s.1.event=b&range=last:7d",
    "retention": "/console/retention?born=a&back=*&range=last:7d",
    "path": "/console/paths?start=a&range=last:7d",
    "cohort": "/console/cohorts?c.0.kind=saved&c.0.name=a",
}


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.answers |= {("POST", f"/query/{kind}"): (200, answer) for kind, answer in ANSWERS.items()}
    event = {
        "event": EVIL,
        "events": 1,
        "people": 1,
        "first_seen": TRENDS["periods"][0],
        "last_seen": TRENDS["periods"][1],
    }
    api.answers["POST", "/query/catalog"] = (200, EMPTY_CATALOG | {"events": [event]})
    cohort = {"name": EVIL, "kind": "rule", "updated_at": TRENDS["periods"][0]}
    api.answers["GET", "/cohorts"] = (200, {"items": [cohort]})
    board = {"dashboard_id": "d", "name": EVIL, "queries": [], "version": 1}
    api.answers["GET", "/dashboard/list"] = (
        200,
        {"items": [board | {"created_at": TRENDS["periods"][0], "updated_at": TRENDS["periods"][0]}]},
    )
    return api


def asked(api: FakeApi) -> dict[str, Any]:
    return {path: body for _, path, body in api.asked}


@pytest.mark.parametrize("kind", list(ADDRESSES))
async def test_a_page_shows_the_api_s_answer_and_no_name_is_markup(api: FakeApi, kind: str) -> None:
    async with browser(api, READER) as client:
        answer = await client.get(ADDRESSES[kind])
    text = answer.text
    assert answer.status_code == 200, text
    assert f"/query/{kind}" in asked(api)
    assert "<script>alert" not in text
    assert html.escape(EVIL, quote=True).replace("&quot;", "&#34;") in text
    assert "1\u202f200" in text
    assert ('<figure class="chart' in text) == (kind in ("trends", "path"))
    assert ("charts.js" in text) == (kind in ("trends", "path", "funnel"))


@pytest.mark.parametrize("kind", list(ADDRESSES))
async def test_an_address_without_a_query_asks_for_suggestions_alone(api: FakeApi, kind: str) -> None:
    page = ADDRESSES[kind].partition("?")[0]
    async with browser(api, READER) as client:
        answer = await client.get(f"{page}?tz=Europe/Berlin&range=last:30d")
    assert set(asked(api)) <= {"/query/catalog", "/cohorts"}
    assert "Nothing is asked yet" in answer.text
    assert "charts" not in answer.text


async def test_a_button_of_the_form_asks_nothing_and_adds_a_row(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        answer = await client.get(ADDRESSES["trends"] + "&do=add:s.0.f", headers={"sec-fetch-mode": "cors"})
        again = await client.get(ADDRESSES["trends"] + "&do=add:s.0.f")
    assert [path for _, path, _ in api.asked] == ["/query/catalog", "/cohorts"]  # the second time, without script
    for page in (answer, again):
        assert 'name="s.0.f.0.key"' in page.text
        assert 'value="a"' in page.text


async def test_what_is_asked_is_what_the_address_says(api: FakeApi) -> None:
    said = [("s.0.event", "a"), ("f.0.key", "plan"), ("f.0.op", "in"), ("f.0.value", "pro, 1"), ("compare", "previous")]
    async with browser(api, READER) as client:
        page = await client.get(f"/console/trends?{urlencode(said)}")
        expected = {
            "series": [{"event": "a"}],
            "last": "30d",
            "compare": "previous",
            "filter": {"plan": ["pro", 1]},
        }
        assert asked(api)["/query/trends"] == expected
        # Its answer as a table, and as it is.
        table, raw = (re.search(rf'href="(/console/trends/{form}\?[^"]+)"', page.text) for form in ("csv", "json"))
        assert table is not None
        assert raw is not None
        api.asked.clear()
        csv = await client.get(html.unescape(table[1]))
        json = await client.get(html.unescape(raw[1]))
    assert [body for _, _, body in api.asked] == [expected, expected]
    assert csv.headers["content-disposition"] == 'attachment; filename="trends.csv"'
    assert "x-partial" not in csv.headers
    # A table has no place to say that a part of the store is missing.
    api.headers = {"x-partial": "true"}
    async with browser(api) as client:
        csv = await client.get(html.unescape(table[1]))
    assert csv.headers["content-disposition"] == 'attachment; filename="trends-partial.csv"'
    assert csv.headers["x-partial"] == "true"
    assert json.json() == TRENDS


@pytest.mark.parametrize(
    ("address", "name"),
    [("/console/cohorts/csv?c.0.kind=did&c.0.event=a&c.0.range=last:7d", "cohorts"), ("people", "people")],
)
async def test_the_name_of_a_table_says_that_there_are_more_people(api: FakeApi, address: str, name: str) -> None:
    """It looked like all of them."""
    api.default = (200, {"count": 1, "people": []})
    if address == "people":
        address = ADDRESSES["trends"].replace("trends?", "trends/people.csv?") + "&cell="
    for more, said in (({}, name), ({"x-next-cursor": "c"}, f"{name}-first-page")):
        api.headers = more
        async with browser(api, READER) as client:
            csv = await client.get(address)
        assert csv.headers["content-disposition"] == f'attachment; filename="{said}.csv"'


@pytest.mark.parametrize(
    ("field", "place"),
    [("filter.plan", "f.0"), ("series[0].measure", "s.0.measure"), ("timezone", "tz"), ("nothing.known", None)],
)
async def test_an_error_stands_at_its_field(api: FakeApi, field: str, place: str | None) -> None:
    error = {"code": "invalid_filter", "message": f"`{field}` {EVIL}", "field": field}
    api.answers["POST", "/query/trends"] = (400, {"error": error, "request_id": "r"})
    async with browser(api, READER) as client:
        answer = await client.get("/console/trends?s.0.event=a&f.0.key=plan&f.0.value=x&s.0.measure=sum&tz=UTC")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    said = re.findall(r'<p class="wrong" id="wrong">(.*?)</p>', answer.text)
    assert len(said) == (place is not None)
    assert "invalid_filter" in answer.text
    if place in ("s.0.measure", "tz"):
        assert re.search(rf'name="{re.escape(place)}"[^>]* aria-invalid="true"', answer.text)


async def test_an_error_is_said_once_without_code_names(api: FakeApi) -> None:
    message = "`since` must be before `until`."
    error = {"code": "invalid_window", "message": message, "field": "until"}
    api.answers["POST", "/query/trends"] = (400, {"error": error, "request_id": "r"})
    async with browser(api, READER) as client:
        page = await client.get("/console/trends?s.0.event=a&range=custom&since=2024-07-02&until=2024-07-01")
    assert page.text.count("“Before” must be a later day than “From”") == 1
    assert 'role="alert"' not in page.text
    assert message in page.text.partition("What the API says")[2]


EMPTY = TRENDS | {
    "series": [{"event": "buy", "measure": "count", "lines": [{"kind": "all", "values": [0, 0]}]}],
    "warnings": [],
}


@pytest.mark.parametrize(
    ("address", "said", "link"),
    [
        (
            "s.0.event=buy&range=custom&since=2023-01-01&until=2024-01-04",
            "The data is from 4 Jan to 29 Jun 2024.",
            True,
        ),
        ("s.0.event=buy&range=custom&since=2024-01-01&until=2024-07-01", "Choose a longer one", False),
        ("s.0.event=buy&range=custom&since=0&until=2024-07-01", "The data is from 4 Jan to 29 Jun 2024.", True),
        ("s.0.event=buy&tz=UTC", "The data is from 4 Jan to 29 Jun 2024.", True),
        ("s.0.event=*&tz=UTC", "The data is from 4 Jan to 29 Jun 2024.", True),
        ("s.0.event=but&tz=UTC", "No event is called “but”. Is it “buy”?", False),
    ],
)
async def test_nothing_found_says_when_the_data_is(api: FakeApi, address: str, said: str, link: bool) -> None:
    event = {"event": "buy", "events": 1, "people": 1}
    times = {"first_seen": "2024-01-04T08:00:00Z", "last_seen": "2024-06-29T23:00:00Z"}
    answer = {name: value for name, value in EMPTY.items() if name != "window" or "since" not in address}
    catalog = EMPTY_CATALOG | {"built_at": times["last_seen"], "events": [event | times]}
    api.answers |= {("POST", "/query/catalog"): (200, catalog), ("POST", "/query/trends"): (200, answer)}
    async with browser(api, READER) as client:
        when = "" if "range" in address else "&range=last:7d"
        page = await client.get(f"/console/trends?{address}{when}")
        assert said in page.text
        found = re.search(r'href="([^"]*)">Show that time', page.text)
        assert (found is not None) == link
        if found is None:
            return
        await client.get(html.unescape(found[1]))
        shown = asked(api)["/query/trends"]
        await client.get(f"/console/trends?{address.partition('&range')[0]}&range=all")
        assert asked(api)["/query/trends"] == shown
    assert (shown["since"], shown["until"]) == ("2024-01-04", "2024-06-30")


async def test_what_the_form_knows_is_wrong_is_not_asked(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        answer = await client.get("/console/trends?s.0.event=a&f.0.key=plan&f.0.op=gt")
    assert "/query/trends" not in asked(api)
    assert "say a value" in answer.text


async def test_an_ended_key_leads_to_the_sign_in_and_back(api: FakeApi) -> None:
    api.answers["POST", "/query/trends"] = (
        401,
        {"error": {"code": "unauthorized", "message": "no"}, "request_id": "r"},
    )
    async with browser(api, READER) as client:
        answer = await client.get(ADDRESSES["trends"])
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in?next=%2Fconsole%2Ftrends%3Fs.0.event%3Da")


async def test_people_behind_a_number(api: FakeApi) -> None:
    people = [{"person_id": EVIL, "traits": {"plan": EVIL, "age": 3}}, {"person_id": "b", "traits": {}}]
    api.answers["POST", "/query/people"] = (200, {"count": 1200, "people": people, "next_cursor": "c+1"})
    async with browser(api, READER) as client:
        page = await client.get(ADDRESSES["trends"])
        # A button a number, in a form that holds the query.
        which = re.findall(r'<button class="n" name="cell" value="([^"]*)">', page.text)
        hidden = re.findall(
            r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text.partition('class="numbers"')[2]
        )
        pairs = [(name, html.unescape(value)) for name, value in hidden if name[:2] in ("s.", "ra", "si", "un")]
        answer = await client.get(f"/console/trends/people?{urlencode([*pairs, ('cell', html.unescape(which[1]))])}")
        assert asked(api)["/query/people"] == {
            "query": {"type": "trends", "series": [{"event": "a"}], **TRENDS["window"]},
            "cell": {"bucket": 0, "line": {"kind": "value", "value": EVIL}},
        }
        more = re.search(r'href="(/console/trends/people\?[^"]*cursor[^"]*)"', answer.text)
        assert more is not None
        await client.get(html.unescape(more[1]))
        assert asked(api)["/query/people"]["cursor"] == "c+1"
    assert "1\u202f200 people" in answer.text
    assert 'href="/console/trends?s.0.event=a&amp;range=last%3A7d"' in answer.text
    assert "<script>alert" not in answer.text
    assert "Sun 1 Mar 2026" in answer.text
    assert f"/console/person?{urlencode({'id': EVIL})}" in answer.text


async def test_suggestions_come_from_the_catalog(api: FakeApi) -> None:
    value = {"value": 1, "share": 0.5}
    prop = {"name": "event", "share": 1, "types": {"number": 1}, "top": [value, value | {"value": "1"}]}
    api.answers["POST", "/query/catalog"] = (
        200,
        EMPTY_CATALOG
        | {
            "people": {"sample": 1, "traits": [prop | {"name": "plan"}]},
            "groups": [{"group_type": "company", "groups": 1, "sample": 1, "traits": [prop | {"name": "seats"}]}],
            "properties": {"event": "a", "sample": 1, "properties": [prop]},
        },
    )
    async with browser(api, READER) as client:
        keys = (await client.get("/console/suggest?of=keys&event=*&event=a")).json()
        values = (await client.get("/console/suggest?of=values&event=a&key=properties.event")).json()
    assert [body for _, _, body in api.asked] == [{"limit": 200, "event": "a"}] * 2
    assert keys[0] == "properties.event"
    assert {"person.plan", "group.company", "group.company.seats", "distinct_id"} <= set(keys)
    assert values == ["1", '"1"']


async def test_a_cohort_is_saved_and_deleted_under_its_name(api: FakeApi) -> None:
    info = {"name": "a/b", "kind": "rule", "updated_at": TRENDS["periods"][0]}
    api.answers["PUT", "/cohorts/a%2Fb"] = (200, info)
    api.answers["DELETE", "/cohorts/a%2Fb"] = (200, {"ok": True})
    async with browser(api, READER) as client:
        token = token_of((await client.get("/console/cohorts")).text)
        form = {"csrf": token, "saved_name": "a/b", "c.0.kind": "did", "c.0.event": "buy", "c.0.range": "last:7d"}
        saved = await client.post("/console/cohorts/save", data=form)
        assert ("PUT", "/cohorts/a%2Fb", {"cohort": {"did": "buy", "last": "7d"}}) in api.asked
        assert saved.headers["location"] == "/console/cohorts?c.0.kind=saved&c.0.name=a%2Fb"
        await client.post("/console/cohorts/delete", data={"csrf": token, "saved_name": "a/b"})
        assert ("DELETE", "/cohorts/a%2Fb", None) in api.asked
        api.asked.clear()
        refused = await client.post("/console/cohorts/delete", data={"saved_name": "a/b"})
    assert (refused.status_code, api.asked) == (403, [])


def links_of(text: str) -> list[str]:
    """Those of Home that ask something."""
    return [html.unescape(link) for link in re.findall(r'data-zone href="(/console/[a-z]+\?[^"]*)"', text)]


async def test_home_leads_on(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        text = (await client.get("/console/")).text
        links = links_of(text)
        for link in links:
            assert (await client.get(link)).status_code == 200
    assert len(links) == 5
    assert "<script>alert" not in text
    assert {"/query/trends", "/query/path", "/query/retention"} <= set(asked(api))


@pytest.mark.parametrize(("days", "when"), [(1, ["30d", "8w"]), (400, [])])
async def test_home_asks_about_the_time_of_the_data(api: FakeApi, days: int, when: list[str]) -> None:
    seen = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    event = {"event": "buy", "events": 1, "people": 1, "first_seen": seen, "last_seen": seen}
    api.answers["POST", "/query/catalog"] = (200, EMPTY_CATALOG | {"events": [event]})
    async with browser(api, READER) as client:
        ranges = [parse_qs(urlsplit(link).query)["range"][0] for link in links_of((await client.get("/console/")).text)]
    assert set(ranges) == {f"last:{one}" for one in when} or set(ranges) == {"all"}
    assert ("all" in ranges) == (not when)


async def test_home_says_what_to_do_first(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        assert "First steps" not in (await client.get("/console/")).text
        api.answers["GET", "/dashboard/list"] = (200, {"items": []})
        some = (await client.get("/console/")).text
        api.answers["POST", "/query/catalog"] = (200, EMPTY_CATALOG)
        none = (await client.get("/console/")).text
    assert (some.count('class="done"'), none.count('class="done"')) == (1, 0)
    assert some.index("Send an event") < some.index("Ask something") < some.index("Keep it")


@pytest.mark.parametrize(
    "address",
    [
        f"/console/trends?s.{'9' * 5000}.event=a",
        "/console/trends?s.².event=a&s.0.event=b",
        "/console/funnel?s.0.event=a&do=up:s.²",
        f"/console/funnel?s.0.event=a&do=remove:s.{'9' * 5000}",
        f"/console/live?property=a&value={'[' * 5000}",
        f"/console/trends?s.0.event=a&f.0.key=a&f.0.value={'[' * 5000}",
        f"/console/cohorts?c.json={'[' * 5000}",
    ],
)
async def test_an_address_that_nobody_writes_is_no_fault(api: FakeApi, address: str) -> None:
    api.answers["POST", "/query/events"] = (200, {"events": []})
    async with browser(api, READER) as client:
        assert (await client.get(address)).status_code == 200
