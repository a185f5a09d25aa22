"""Dashboards as pages: tiles that ask for themselves, one range for all, and changes that nobody else's undo."""

import html
import json
import re
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from services.console.queries.tiles import moved, tile_of, with_window
from tests.fakes.console_api import READER, FakeApi, browser, token_of

EVIL = '<img src=x onerror="alert(1)">'
WHEN = "2026-03-01T00:00:00Z"
QUERIES: list[dict[str, Any]] = [
    {"type": "trends", "title": EVIL, "last": "30d", "series": [{"event": None}], "width": 8, "top": None},
    {"type": "cohort", "cohort": {"did": "a", "last": "7d"}},
    {"type": "events", "since": "2026-01-01", "until": "2026-02-01"},
]
BOARD: dict[str, Any] = {
    "dashboard_id": "d1",
    "name": EVIL,
    "queries": QUERIES,
    "created_at": WHEN,
    "updated_at": WHEN,
    "version": 7,
}
STEP: dict[str, Any] = {
    "event": "a",
    "people": 12,
    "drop_off": 0,
    "conversion_from_start": 1.0,
    "conversion_from_before": None,
    "median_seconds": None,
    "p90_seconds": None,
}
CONFLICT = {
    "error": {"code": "conflict", "message": "The dashboard was changed since it was read", "field": "version"},
    "request_id": "r",
}
ADDRESS = "/console/dashboards/d1"
CHANGE = f"{ADDRESS}/change"
TILES = "/console/dashboards/tiles"


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.answers |= {
        ("GET", "/dashboard/get/d1"): (200, BOARD),
        ("GET", "/dashboard/list"): (200, {"items": [BOARD], "next_cursor": "n"}),
        ("PUT", "/dashboard/update/d1"): (200, BOARD),
        ("POST", "/dashboard/create"): (200, BOARD | {"dashboard_id": "d2"}),
        ("DELETE", "/dashboard/delete/d1"): (200, {"ok": True}),
        ("POST", "/query/cohort"): (200, {"size": 1200, "people": ["p"]}),
        ("POST", "/query/events"): (200, {"events": []}),
    }
    return api


async def changed(api: FakeApi, **form: str) -> tuple[int, str, Any]:
    """Status, where to, and what was sent."""
    async with browser(api, READER) as client:
        token = token_of((await client.get(ADDRESS)).text)
        api.asked.clear()
        answer = await client.post(CHANGE, data={"csrf": token, "version": "7", **form})
    return answer.status_code, answer.headers.get("location", ""), api.asked[-1]


async def test_the_page_comes_before_its_answers(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        answer = await client.get(f"{ADDRESS}?range=last:7d&tz=Europe/Berlin")
    assert [path for _, path, _ in api.asked] == ["/dashboard/get/d1"]
    assert "<img src=x" not in answer.text
    window = {"last": "7d", "timezone": "Europe/Berlin"}
    assert tiles_of(answer.text) == [
        {"type": "trends", "series": [{"event": None}], "top": None, **window},
        {"type": "cohort", "cohort": {"did": "a", "last": "7d"}},
        {"type": "events", **window},
    ]
    assert re.findall(r'class="tile card (w\d+)"', answer.text) == ["w8", "w6", "w6"]


def tiles_of(page: str) -> list[Any]:
    """What the module of the page asks for."""
    return [json.loads(html.unescape(query)) for query in re.findall(r'data-query="([^"]*)"', page)]


async def test_a_tile_asks_in_the_range_of_the_page(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        page = (await client.get(f"{ADDRESS}?range=custom&since=2026-03-01&until=2026-04-01&tz=UTC")).text
        api.asked.clear()
        csrf = token_of(page)
        for number, query in enumerate(tiles_of(page)):
            answer = await client.post(TILES, data={"csrf": csrf, "query": json.dumps(query)})
            # The answer to trends is not there: its error is its tile's alone.
            assert answer.status_code == 200
            assert ("not_found" in answer.text) == (number == 0)
        wrong = [await client.post(TILES, data={"csrf": csrf, "query": text}) for text in ("", "[]", "x")]
    window = {"since": "2026-03-01", "until": "2026-04-01", "timezone": "UTC"}
    assert api.asked == [
        ("POST", "/query/trends", {"series": [{"event": None}], "top": None, **window}),
        ("POST", "/query/cohort", {"cohort": {"did": "a", "last": "7d"}}),
        ("POST", "/query/events", window),
    ]
    assert [answer.status_code for answer in wrong] == [400] * 3


async def test_without_script_all_answers_are_in_the_page(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        answer = await client.get(f"{ADDRESS}?all=1")
    assert "1\u202f200" in answer.text
    assert "data-tile" not in answer.text


@pytest.mark.parametrize(
    ("form", "name", "queries"),
    [
        ({"do": "rename", "name": " New "}, "New", QUERIES),
        ({"do": "up:1"}, EVIL, [QUERIES[1], QUERIES[0], QUERIES[2]]),
        ({"do": "down:1"}, EVIL, [QUERIES[0], QUERIES[2], QUERIES[1]]),
        ({"do": "up:0"}, EVIL, QUERIES),
        ({"do": "remove:2"}, EVIL, QUERIES[:2]),
        (
            {"do": "set:1", "title.1": "Buyers", "width.1": "12", "title.0": "other"},
            EVIL,
            [QUERIES[0], QUERIES[1] | {"title": "Buyers", "width": 12}, QUERIES[2]],
        ),
    ],
)
async def test_a_change_is_sent_with_the_version_that_was_read(
    api: FakeApi, form: dict[str, str], name: str, queries: list[Any]
) -> None:
    status, location, sent = await changed(api, **form, range_query="range=last:7d&evil=1")
    assert (status, location) == (303, f"{ADDRESS}?range=last%3A7d")
    assert sent == ("PUT", "/dashboard/update/d1", {"name": name, "queries": queries, "version": 7})


async def test_enter_in_a_title_changes_that_tile(api: FakeApi) -> None:
    """It presses the first button of the form: of a form of all tiles that was the first tile's."""
    async with browser(api, READER) as client:
        page = (await client.get(ADDRESS)).text
    forms = re.findall(r"<form[^>]*>(.*?)</form>", page, re.S)
    titled = [form for form in forms if 'name="title.' in form]
    assert len(titled) == len(QUERIES)
    for number, form in enumerate(titled):
        assert f'name="title.{number}"' in form
        assert re.findall(r"<button[^>]* value=\"([^\"]*)\"", form)[0] == f"set:{number}"
        assert all(f'type="hidden" name="{name}"' in form for name in ("csrf", "version", "range_query"))


async def test_somebody_else_s_change_is_not_undone(api: FakeApi) -> None:
    api.answers["PUT", "/dashboard/update/d1"] = (409, CONFLICT)
    status, _, sent = await changed(api, do="remove:0", version="6")
    assert (status, sent[2]["version"]) == (409, 6)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"do": "set:²"}, 404),
        ({"do": f"set:{'9' * 5000}"}, 404),
        ({"do": "set:0", "width.0": "²"}, 303),
        ({"do": "up:1", "version": "9" * 5000}, 303),
    ],
)
async def test_what_is_no_number_to_us_is_none(api: FakeApi, form: dict[str, str], status: int) -> None:
    assert (await changed(api, **form))[0] == status


async def test_a_tile_that_is_gone_changes_nothing(api: FakeApi) -> None:
    status, _, sent = await changed(api, do="remove:3")
    assert (status, sent[0]) == (404, "GET")


async def test_duplicate_and_delete(api: FakeApi) -> None:
    status, location, sent = await changed(api, do="duplicate")
    assert (status, location) == (303, "/console/dashboards/d2")
    assert sent == ("POST", "/dashboard/create", {"name": f"{EVIL} (copy)", "queries": QUERIES})
    assert await changed(api, do="delete") == (
        303,
        "/console/dashboards",
        ("DELETE", "/dashboard/delete/d1", None),
    )


async def test_a_query_is_saved_onto_a_dashboard(api: FakeApi) -> None:
    query = urlencode([("s.0.event", "a"), ("range", "last:7d")])
    saved = {"type": "trends", "title": "Sign-ups", "series": [{"event": "a"}], "last": "7d"}
    async with browser(api, READER) as client:
        token = token_of((await client.get("/console/dashboards")).text)
        form = {"csrf": token, "kind": "trends", "query": query, "title": " Sign-ups "}
        first = await client.post("/console/dashboards/save", data={**form, "name": " Weekly "})
        assert api.asked[-1] == ("POST", "/dashboard/create", {"name": "Weekly", "queries": [saved]})
        unnamed = await client.post("/console/dashboards/save", data={**form, "name": " "})
        assert api.asked[-1][2] == {"name": "Weekly", "queries": [saved]}
        await client.post("/console/dashboards/save", data={**form, "dashboard": "d1"})
        assert api.asked[-1][2] == {"name": EVIL, "queries": [*QUERIES, saved], "version": 7}
        nothing = await client.post("/console/dashboards/save", data={**form, "query": ""})
        strange = await client.post("/console/dashboards/save", data={**form, "csrf": "x"})
    assert first.headers["location"] == "/console/dashboards/d2"
    assert (unnamed.status_code, nothing.status_code, strange.status_code) == (400, 400, 403)
    assert "A new dashboard needs a name" in unnamed.text


class Contended(FakeApi):
    """Others change the dashboard so many times before an update of ours."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.others = others

    def __call__(self, request: httpx.Request) -> httpx.Response:
        board = {**BOARD, "version": 7 - self.others}
        self.answers["GET", "/dashboard/get/d1"] = (200, board)
        self.answers["PUT", "/dashboard/update/d1"] = (409, CONFLICT) if self.others else (200, BOARD)
        self.others -= request.method == "PUT" and self.others > 0
        return super().__call__(request)


@pytest.mark.parametrize(("others", "status"), [(0, 303), (2, 303), (1000, 409)])
async def test_a_tile_more_stands_behind_what_others_have_added(others: int, status: int) -> None:
    """Of two people who saved at once one was refused."""
    api = Contended(others)
    async with browser(api, READER) as client:
        token = token_of((await client.get("/console/dashboards/d1")).text)
        form = {"csrf": token, "kind": "trends", "query": "s.0.event=a&range=last:7d", "title": "t", "dashboard": "d1"}
        answer = await client.post("/console/dashboards/save", data=form)
    updates = [body["version"] for method, _, body in api.asked if method == "PUT"]
    assert answer.status_code == status
    assert updates == [7 - others + i for i in range(min(others + 1, 5))]


async def test_the_dashboard_that_was_changed_last_is_chosen(api: FakeApi) -> None:
    times = ["2026-03-01T00:00:00Z", "2026-03-09T00:00:00Z", "2026-03-02T00:00:00Z"]
    items = [BOARD | {"dashboard_id": f"d{i}", "updated_at": time} for i, time in enumerate(times)]
    api.answers["POST", "/query/funnel"] = (200, {"order": "ordered", "steps": [STEP, STEP]})
    query = "/console/funnel?s.0.event=a&s.1.event=b"
    async with browser(api, READER) as client:
        api.answers["GET", "/dashboard/list"] = (200, {"items": items})
        page = (await client.get(query)).text
        api.answers["GET", "/dashboard/list"] = (200, {"items": []})
        none = (await client.get(query)).text
    assert re.findall(r'<option value="(d\d)"( selected)?>', page) == [("d0", ""), ("d1", " selected"), ("d2", "")]
    name = re.compile(r'<input id="f-name"[^>]* required')
    assert (name.search(page), name.search(none) is not None) == (None, True)
    assert "data-copy-link" in page


async def test_a_tile_says_when(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        page = (await client.get(ADDRESS)).text
        moved_on = (await client.get(f"{ADDRESS}?range=all")).text
        home = (await client.get("/console/")).text
    assert re.findall(r'</h2>\s*(?:<p class="quiet">([^<]*)</p>)?', page)[:3] == [
        "Last 30 days",
        "",
        "2026-01-01 to 2026-02-01",
    ]
    assert moved_on.count('<p class="quiet">All time</p>') == 2
    assert "data-copy-link" in page
    assert "3 tiles," in home


async def test_the_list_goes_on_and_a_foreign_one_is_the_api_s_404(api: FakeApi) -> None:
    async with browser(api, READER) as client:
        page = await client.get("/console/dashboards")
        foreign = await client.get("/console/dashboards/d9?range=last:7d")
    assert "/console/dashboards?cursor=n" in page.text
    assert "<img src=x" not in page.text
    assert foreign.status_code == 404
    assert "not_found" in foreign.text


def test_a_window_in_one_form_replaces_the_others() -> None:
    body = {"last": "30d", "timezone": "UTC", "compare": "previous"}
    assert with_window(body, {}) == body
    assert with_window(body, {"timezone": "Europe/Berlin"}) == body | {"timezone": "Europe/Berlin"}
    assert with_window(body, {"since": 1}) == {"since": 1, "timezone": "UTC", "compare": "previous"}


def test_a_saved_query_of_a_kind_that_is_not_known_is_a_tile_too() -> None:
    tile = tile_of({"type": "new", "width": 99}, 0, {})
    assert (tile.title, tile.width) == ("Events", 6)


def test_moving() -> None:
    assert moved([1, 2, 3], 0, 1) == [2, 1, 3]
    assert moved([1, 2, 3], 2, 1) == moved([1, 2, 3], 0, -1) == moved([1, 2, 3], 9, -1) == [1, 2, 3]
