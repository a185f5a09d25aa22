"""What pages show of answers, what they ask for, and that whatever a stranger has written stays text."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from services.console.views.live import looked_back
from services.contract.api.endpoints import BASE_PATH
from services.contract.api.openapi import CALLS
from tests.fakes.console_api import EMPTY_CATALOG, READER, WRITER, FakeApi, browser, console, token_of

SCRIPT = "<script>alert('x')</script>\" onfocus=alert(1) '&{{7*7}}"
MOMENT = "2026-11-29T02:00:00Z"
EVENT = {
    "event_id": "b579fc15-fb90-f6b1-98c0-a3e59a305fc8",
    "event": SCRIPT,
    "distinct_id": SCRIPT,
    "person_id": SCRIPT,
    "timestamp": MOMENT,
    "received_at": MOMENT,
    "properties": {SCRIPT: SCRIPT},
    "idempotency_key": None,
}
PROPERTY = {"name": SCRIPT, "share": 0.5, "types": {"string": 1.0}, "top": [{"value": SCRIPT, "share": 0.5}]}
PERSON = {
    "person_id": SCRIPT,
    "distinct_ids": [SCRIPT, "d"],
    "traits": {SCRIPT: SCRIPT},
    "groups": {SCRIPT: SCRIPT},
    "links": [
        {
            "prior_id": SCRIPT,
            "user_id": SCRIPT,
            "timestamp": MOMENT,
            "received_at": MOMENT,
            "counts": False,
            "reason": SCRIPT,
        }
    ],
    "merges": [{"old_id": SCRIPT, "new_id": SCRIPT, "timestamp": MOMENT, "received_at": MOMENT, "counts": True}],
    "first_seen": MOMENT,
    "last_seen": MOMENT,
    "events": 31106,
}
GROUP = {
    "group_type": SCRIPT,
    "group_key": SCRIPT,
    "traits": {SCRIPT: {"a": SCRIPT}},
    "members": 1,
    "people": [SCRIPT],
    "first_seen": MOMENT,
    "last_seen": MOMENT,
}
CATALOG = {
    **EMPTY_CATALOG,
    "built_at": MOMENT,
    "events": [{"event": SCRIPT, "events": 31106, "people": 2, "first_seen": MOMENT, "last_seen": MOMENT}],
    "people": {"sample": 1, "traits": [PROPERTY]},
    "groups": [{"group_type": SCRIPT, "groups": 1, "sample": 1, "traits": [PROPERTY]}],
    "properties": {"event": SCRIPT, "sample": 1, "properties": [PROPERTY]},
}
DELETION = {"deletion_id": "0b1c", "state": "running", "requested_at": MOMENT, "finished_at": None}
PAGES = {
    "live": "/console/live",
    "live filtered": "/console/live?event={s}&person={s}&property={s}&op=contains&value={s}",
    "event": "/console/event?id=x&timestamp={s}",
    "people": "/console/people",
    "people found": "/console/people?q={s}",
    "person": "/console/person?id={s}",
    "person delete": "/console/person/delete?id={s}",
    "deletion": "/console/deletion?id={s}",
    "groups": "/console/groups",
    "groups of a type": "/console/groups?type={s}",
    "group": "/console/group?type={s}&key={s}",
    "catalog": "/console/catalog?q={s}",
    "catalog event": "/console/catalog?event={s}",
    "setup": "/console/setup",
    "sign in": "/console/sign-in?next={s}",
    "nowhere": "/console/nowhere?a={s}",
}


class Page(HTMLParser):
    """The tags of a page, its texts, and what would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    found = {"people": [{"person_id": SCRIPT, "traits": {SCRIPT: SCRIPT}}], "more": True}
    groups = {"count": 1, "people": [], "groups": [{"group_key": SCRIPT, "traits": {SCRIPT: SCRIPT}}]}
    api.default = (200, PERSON)
    api.answers |= {
        ("POST", "/query/events"): (200, {"events": [EVENT], "next_cursor": SCRIPT}),
        ("POST", "/query/catalog"): (200, CATALOG),
        ("POST", "/query/people"): (200, groups),
        ("GET", "/persons"): (200, found),
        ("GET", "/events/x"): (200, EVENT),
    }
    return api


def answers(api: FakeApi, path: str) -> None:
    """Paths with an id in them."""
    if path.startswith("/console/deletion"):
        api.default = (200, DELETION)
    if path.startswith("/console/group?"):
        api.default = (200, GROUP)


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())
async def test_what_a_stranger_has_written_stays_text(api: FakeApi, path: str) -> None:
    answers(api, path)
    address = path.replace("{s}", str(httpx.QueryParams({"s": SCRIPT}))[2:])
    async with browser(api) as client:
        answer = await client.get(address)
    assert answer.status_code == (404 if "nowhere" in path else 200), answer.text
    page = Page(answer.text)
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert all(attrs.get("type") == "module" and "src" in attrs for attrs in scripts)
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") or name == "style" for name in attrs)]
    assert not [tag for tag, _ in page.tags if tag in ("style", "iframe", "object", "embed", "base")]
    for _, attrs in page.tags:
        for name in ("href", "src", "action"):
            assert str(attrs.get(name) or "/").startswith(("/console/", "/docs", "?", "#", "/")), attrs
    shown = [*page.texts, *(value for _, attrs in page.tags for value in attrs.values() if value)]
    assert any(SCRIPT in text for text in shown) or any(part in path for part in ("deletion", "sign-in", "nowhere"))


@pytest.mark.parametrize("path", [path for name, path in PAGES.items() if name not in ("sign in", "nowhere")])
async def test_pages_are_small_and_have_their_curl_lines(api: FakeApi, path: str) -> None:
    answers(api, path)
    async with browser(api) as client:
        answer = await client.get(path.replace("{s}", "x"))
    assert len(answer.content) < 60_000
    assert "curl " in "".join(Page(answer.text).texts)


async def test_only_public_calls_are_made(api: FakeApi) -> None:
    async with browser(api) as client:
        for path in PAGES.values():
            answers(api, path)
            await client.get(path.replace("{s}", "x"))
            api.default = (200, PERSON)
    public = {(call.method, call.path.split("/{")[0]) for call in CALLS}
    for method, asked, _ in api.asked:
        bare = asked.partition("?")[0]
        assert any(method == m and (bare == p or bare.startswith(f"{p}/")) for m, p in public), (method, asked)
    assert BASE_PATH == "/v1/analytics"
    # With the key of who is signed in, and no other.
    assert set(api.keys) == {WRITER}


async def test_a_key_that_may_read_alone_sees_no_button_that_needs_more(api: FakeApi) -> None:
    async with browser(api, key=READER) as client:
        live = (await client.get("/console/live")).text
        assert "Send a test event" not in live
        assert "/console/person/delete" not in (await client.get("/console/person?id=x")).text
        assert "?key=shown" not in (await client.get("/console/setup")).text
        assert READER not in (await client.get("/console/setup?key=shown")).text
        # The console has no right of its own: the API refuses.
        for path in ("/console/live/test", "/console/person/delete?id=x"):
            form = {"csrf": token_of(live), "confirm": "x", "once": "1"}
            answer = await client.post(path, data=form)
            assert answer.status_code == 403
            assert "may not do this" in answer.text
    assert set(api.keys) == {READER}


def changes() -> list[str]:
    """Every address that takes a form, but the sign-in, which has no session yet."""
    routes = [
        route for route in console(FakeApi()).routes if isinstance(route, Route) and "POST" in (route.methods or ())
    ]
    paths = [re.sub(r"\{[^}]*\}", "x", route.path) for route in routes]
    return [path for path in paths if path != "/console/sign-in"]


@pytest.mark.parametrize("path", changes())
async def test_changes_need_the_token(api: FakeApi, path: str) -> None:
    async with browser(api) as client:
        answer = await client.post(path, data={"id": "x", "confirm": "x", "do": "delete", "csrf": "guess"})
    assert answer.status_code == 403
    assert api.asked == []


async def test_a_deletion_needs_the_id_once_more_and_happens_once(api: FakeApi) -> None:
    api.answers[("POST", "/privacy/delete")] = (200, DELETION)
    async with browser(api) as client:
        form = (await client.get("/console/person/delete?id=x")).text
        once = form.partition('name="once" value="')[2].partition('"')[0]
        sent = {"csrf": token_of(form), "once": once}
        refused = await client.post("/console/person/delete?id=x", data={**sent, "confirm": "y"})
        assert refused.status_code == 400
        assert "Nothing was deleted" in refused.text
        for _ in range(2):
            answer = await client.post("/console/person/delete?id=x", data={**sent, "confirm": "x"})
            assert answer.headers["location"] == "/console/deletion?id=0b1c"
    bodies = [body for method, path, body in api.asked if path == "/privacy/delete"]
    assert bodies == [{"distinct_id": "x", "idempotency_key": once}] * 2
    assert len(once) >= 16


@pytest.mark.parametrize("person", [" ann@shop.example ", "a\nb", "a  b", "<b>'&\"", "\t"])
@pytest.mark.parametrize(("written", "status"), [("{}", 303), ("", 400), ("x", 400)])
async def test_an_id_with_blanks_can_be_confirmed(api: FakeApi, person: str, written: str, status: int) -> None:
    """Those at its ends are not seen, and no field takes a line end: such a person could not be deleted."""
    api.default = (200, PERSON | {"person_id": person})
    api.answers[("POST", "/privacy/delete")] = (200, DELETION)
    async with browser(api) as client:
        page = (await client.get("/console/person/delete", params={"id": person})).text
        (action,) = [attrs["action"] for tag, attrs in Page(page).tags if tag == "form" and "delete" in str(attrs)]
        typed = written.format(person).replace("\n", "").strip()
        answer = await client.post(str(action), data={"csrf": token_of(page), "once": "k", "confirm": typed})
    sent = [body["distinct_id"] for _, path, body in api.asked if path == "/privacy/delete"]
    assert answer.status_code == (400 if person == "\t" else status)
    assert sent == ([person] if answer.status_code == 303 else [])


async def test_errors_of_a_filter_stand_on_the_page(api: FakeApi) -> None:
    api.answers[("POST", "/query/events")] = (400, None)
    async with browser(api) as client:
        answer = await client.get("/console/live?property=a&op=gt&value=x")
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert 'value="a"' in answer.text


async def test_what_is_not_there_and_what_is_away_are_pages(api: FakeApi) -> None:
    api.default = (404, None)
    async with browser(api) as client:
        missing = await client.get("/console/person?id=x")
        api.down = True
        away = await client.get("/console/person?id=x")
    assert (missing.status_code, away.status_code) == (404, 503)
    assert "not_found!" in missing.text
    assert "Try again" in away.text


def filter_of(api: FakeApi) -> dict[str, Any]:
    found: dict[str, Any] = next(body["filter"] for _, path, body in api.asked if path == "/query/events")
    found.pop("received_at")
    return found


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", {}),
        ("event=buy", {"event": "buy"}),
        ("person=ada&event=", {"person_id": "ada"}),
        ("property=n&value=19.99", {"n": {"eq": 19.99}}),
        ("property=n&op=ne&value=true", {"n": {"ne": True}}),
        ('property=n&value="42"', {"n": {"eq": "42"}}),
        ("property=n&op=contains&value=42", {"n": {"contains": "42"}}),
        ("property=n&value=[1]", {"n": {"eq": "[1]"}}),
        ("property=n&op=missing&value=x", {"n": {"exists": False}}),
        ("property=n&op=drop&value=x", {"n": {"eq": "x"}}),
    ],
)
async def test_filters_of_the_live_page(api: FakeApi, query: str, wanted: dict[str, Any]) -> None:
    async with browser(api) as client:
        await client.get(f"/console/live?{query}")
    assert filter_of(api) == wanted


async def test_the_next_page_of_a_time_line_goes_on_with_the_same_window(api: FakeApi) -> None:
    async with browser(api) as client:
        page = (await client.get("/console/person?id=x")).text
        first = api.asked[-1][2]
        more = next(
            str(attrs["href"]) for tag, attrs in Page(page).tags if tag == "a" and "cursor=" in str(attrs.get("href"))
        )
        await client.get("/console/person" + more)
    second = api.asked[-1][2]
    assert second == {**first, "cursor": SCRIPT}
    assert first["since"] == MOMENT


async def test_a_whole_id_is_found_where_the_search_does_not_look(api: FakeApi) -> None:
    api.answers[("GET", "/persons")] = (200, {"people": [], "more": False})
    async with browser(api) as client:
        page = Page((await client.get("/console/people?q=old+id")).text)
    assert ("GET", "/persons/old%20id") in [(method, path) for method, path, _ in api.asked]
    assert any(tag == "a" and "/console/person?" in str(attrs.get("href")) for tag, attrs in page.tags)


async def test_a_group_that_events_alone_name_has_its_time_line(api: FakeApi) -> None:
    """The list of groups led to it, and it was not there."""
    api.answers[("GET", "/groups/t/k")] = (404, None)
    async with browser(api) as client:
        found = await client.get("/console/group?type=t&key=k")
        body = next(body for _, path, body in api.asked if path == "/query/events")
        api.answers[("POST", "/query/events")] = (200, {"events": []})
        unknown = await client.get("/console/group?type=t&key=k")
    assert (found.status_code, unknown.status_code) == (200, 404)
    assert body["filter"] == {"group.t": "k"}
    assert f"/console/event?id={EVENT['event_id']}" in found.text
    assert "Members" not in found.text


async def test_a_page_without_a_stream_asks_for_what_came_since(api: FakeApi) -> None:
    async with browser(api) as client:
        answer = await client.get("/console/live/since?after=1&event=buy", headers={"sec-fetch-mode": "cors"})
    assert [event["event_id"] for event in json.loads(answer.content)] == [EVENT["event_id"]]
    assert filter_of(api) == {"event": "buy"}


@pytest.mark.parametrize("path", ["live", "people", "person?id=x", "group?type=t&key=k", "setup", "setup/check"])
async def test_a_list_of_events_says_that_a_part_of_the_store_is_missing(api: FakeApi, path: str) -> None:
    """It looked like all that was there, or like nothing."""
    answers(api, f"/console/{path}")
    said = "A part of the store did not answer: its events are missing here."
    for events, partial in (([EVENT], {}), ([EVENT], {"partial": True}), ([], {"partial": True})):
        api.answers[("POST", "/query/events")] = (200, {"events": events, **partial})
        async with browser(api) as client:
            page = (await client.get(f"/console/{path}")).text
        # What has come in has come in.
        is_said = bool(partial) and not (events and path.startswith("setup"))
        assert (said in page) == is_said


async def test_a_page_without_a_stream_is_told_what_is_missing(api: FakeApi) -> None:
    async with browser(api) as client:
        assert "x-partial" not in (await client.get("/console/live/since?after=1")).headers
        api.answers[("POST", "/query/events")] = (200, {"events": [EVENT], "partial": True})
        assert (await client.get("/console/live/since?after=1")).headers["x-partial"] == "true"


@pytest.mark.parametrize(
    ("public", "wanted"), [("", "http://console.test"), ("https://e.shop.example/", "https://e.shop.example")]
)
async def test_lines_to_send_with_have_the_address_and_no_key_unasked(api: FakeApi, public: str, wanted: str) -> None:
    async with browser(api, console_public_url=public) as client:
        hidden = "".join(Page((await client.get("/console/setup")).text).texts)
        shown = "".join(Page((await client.get("/console/setup?key=shown")).text).texts)
    assert hidden.count(f"{wanted}/v1/analytics/track") == 3
    assert "$INFRAI_API_KEY" in hidden
    assert WRITER not in hidden
    assert f"Bearer {WRITER}" in shown


@pytest.mark.parametrize(("status", "said"), [(429, "not_found!"), (503, "not_found!")])
async def test_a_stream_that_is_refused_says_so_to_the_page(api: FakeApi, status: int, said: str) -> None:
    api.answers[("GET", "/events/live")] = (status, None)
    async with browser(api) as client:
        answer = await client.get("/console/live/stream?event=buy", headers={"last-event-id": "17"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == f'retry: 10000\nevent: problem\ndata: "{said}"\n\n'
    assert api.asked[-1][1] == "/events/live?filter=%7B%22event%22%3A%22buy%22%7D"


async def test_an_answer_that_nobody_understands_is_a_page(api: FakeApi) -> None:
    api.default = (200, {"person_id": 17})
    async with browser(api) as client:
        answer = await client.get("/console/person?id=x")
    assert answer.status_code == 502
    assert "does not know" in answer.text


async def test_a_form_that_is_too_large_is_refused(api: FakeApi) -> None:
    async with browser(api) as client:
        answer = await client.post("/console/live/test", data={"csrf": "x" * 300_000})
    assert answer.status_code == 413
    assert "larger than 262144 bytes" in answer.text


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        ("1800000000000000", "1799999970000000"),
        ("1800000000000000-6e5a9c52-0d4c-4e0e-9c36-0b5c3ad3a6a1", "1799999970000000"),
        ("17", "0"),
        ("", ""),
        ("x", ""),
        ("9" * 18, ""),
    ],
)
def test_streams_look_back(after: str, wanted: str) -> None:
    """An event that was received before the list was made can be stored after it."""
    assert looked_back(after) == wanted
