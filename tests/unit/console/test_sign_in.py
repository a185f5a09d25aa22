"""Signing in and out, a session that ends, and what other sites may not do."""

import logging

import pytest
from starlette.requests import Request

from services.console.frame.csrf import is_from_here
from services.console.frame.frame import HOME, own_address
from services.console.frame.session import COOKIE, Sessions
from tests.fakes.console_api import READER, STRANGER, WRITER, FakeApi, browser, settings, token_of


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.mark.parametrize(("key", "can_send"), [(READER, False), (WRITER, True)])
async def test_the_api_says_what_a_key_may_do(api: FakeApi, key: str, can_send: bool) -> None:
    async with browser(api, key=None) as client:
        answer = await client.post("/console/sign-in", data={"key": f" {key}\n", "next": "/console/people?q=ada"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/people?q=ada")
        cookie = Request({"type": "http", "headers": [(b"cookie", f"{COOKIE}={client.cookies[COOKIE]}".encode())]})
        session = Sessions(settings()).of(cookie)
    assert session is not None
    assert (session.key, session.can_send) == (key, can_send)
    assert [path for _, path, _ in api.asked] == ["/query/catalog", "/batch"]
    assert set(api.keys) == {key}


@pytest.mark.parametrize(
    ("key", "said"),
    [("", "Paste a project key"), ("two words", "no project key"), (STRANGER, "No project has this key")],
)
async def test_a_wrong_key_is_said_beside_the_field(api: FakeApi, key: str, said: str) -> None:
    async with browser(api, key=None) as client:
        answer = await client.post("/console/sign-in", data={"key": key, "next": ""})
    assert answer.status_code in (400, 401)
    assert said in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert COOKIE not in answer.headers.get("set-cookie", "")
    assert not key or key not in answer.text


@pytest.mark.parametrize("back", ["", "https://elsewhere.example/", "/console/../docs"])
async def test_it_leads_to_home_where_nothing_was_asked_for(api: FakeApi, back: str) -> None:
    async with browser(api, key=None) as client:
        answer = await client.post("/console/sign-in", data={"key": WRITER, "next": back})
    assert answer.headers["location"] == "/console/"


async def test_an_api_that_is_away_is_said(api: FakeApi) -> None:
    api.down = True
    async with browser(api, key=None) as client:
        answer = await client.post("/console/sign-in", data={"key": WRITER, "next": ""})
        assert answer.status_code == 503
        assert "The API does not answer now" in answer.text
        assert (await client.get("/health/ready")).status_code == 503


async def test_secure_cookies_over_http_are_said_and_not_lost(api: FakeApi) -> None:
    async with browser(api, key=None, console_cookie_secure=True) as client:
        answer = await client.post("/console/sign-in", data={"key": WRITER}, headers={"origin": "http://console.test"})
    assert answer.status_code == 400
    assert "HEADRACE_CONSOLE_COOKIE_SECURE=false" in answer.text


async def test_without_a_session_pages_lead_to_the_sign_in_and_back(api: FakeApi) -> None:
    async with browser(api, key=None) as client:
        answer = await client.get("/console/people?q=ada+l")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console/sign-in?next=%2Fconsole%2Fpeople%3Fq%3Dada%2Bl"
        form = await client.get(answer.headers["location"])
        assert 'name="next" value="/console/people?q=ada+l"' in form.text
    assert api.asked == []


async def test_a_session_that_has_ended_leads_to_the_sign_in(api: FakeApi) -> None:
    async with browser(api) as client:
        client.cookies[COOKIE] = "gAAAAABf"
        assert (await client.get("/console/live")).headers["location"].startswith("/console/sign-in?next=")
        posted = await client.post(
            "/console/sign-out", data={"csrf": "x"}, headers={"referer": "http://c/console/live?e=1"}
        )
        assert posted.headers["location"] == "/console/sign-in?next=%2Fconsole%2Flive%3Fe%3D1"
        script = await client.get("/console/live", headers={"sec-fetch-mode": "cors"})
        assert script.status_code == 401


async def test_a_key_that_was_revoked_meanwhile_ends_the_session(api: FakeApi) -> None:
    async with browser(api) as client:
        api.answers[("POST", "/query/catalog")] = (401, None)
        answer = await client.get("/console/catalog")
    assert answer.headers["location"] == "/console/sign-in?next=%2Fconsole%2Fcatalog&ended=1"
    assert f'{COOKIE}="";' in answer.headers["set-cookie"]


async def test_a_link_on_another_site_finds_the_session(api: FakeApi) -> None:
    """It comes without the cookie. The page that it gets asks again, from here."""
    async with browser(api, key=None) as client:
        bounce = await client.get("/console/people?q=a&limit=2", headers={"sec-fetch-site": "cross-site"})
    assert bounce.status_code == 200
    assert 'content="0; url=/console/people?q=a&amp;limit=2"' in bounce.text


async def test_signing_out_takes_the_cookie(api: FakeApi) -> None:
    async with browser(api) as client:
        token = token_of((await client.get("/console/nowhere")).text)
        answer = await client.post("/console/sign-out", data={"csrf": token})
        assert answer.headers["location"].startswith("/console/sign-in")
        assert COOKIE not in client.cookies


@pytest.mark.parametrize("csrf", ["", "x", None])
async def test_forms_without_the_token_change_nothing(api: FakeApi, csrf: str | None) -> None:
    async with browser(api) as client:
        answer = await client.post("/console/sign-out", data={} if csrf is None else {"csrf": csrf})
        assert answer.status_code == 403
        assert "Nothing was changed" in answer.text
        assert COOKIE in client.cookies


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "null"},
        {"origin": "http://evil.test"},
    ],
)
async def test_forms_of_other_sites_change_nothing(api: FakeApi, headers: dict[str, str]) -> None:
    async with browser(api) as client:
        token = token_of((await client.get("/console/nowhere")).text)
        assert (await client.post("/console/sign-out", data={"csrf": token}, headers=headers)).status_code == 403
        signed_in = await client.post("/console/sign-in", data={"key": READER}, headers=headers)
        assert signed_in.status_code == 403
    assert api.asked == []


def test_requests_of_this_site_and_of_programs_pass() -> None:
    for headers in ({}, {"origin": "https://c.test", "host": "c.test"}, {"sec-fetch-site": "same-origin"}):
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        assert is_from_here(Request({"type": "http", "headers": raw}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "//evil.test/",
        "https://evil.test/console/",
        "/console",
        "/console/\\evil",
        "/console/../x",
        "/console/\nx",
        "/v1",
    ],
)
def test_nobody_is_led_to_another_site(text: str) -> None:
    assert own_address(text) == HOME


@pytest.mark.usefixtures("logs_as_before")
async def test_keys_and_ids_are_not_logged(api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    from services.runtime.logs import configure_logs

    configure_logs(settings(log_level="debug"), "console")
    logging.getLogger().addHandler(caplog.handler)
    async with browser(api) as client:
        await client.get("/console/person?id=ada@shop.example")
        api.down = True
        await client.get("/console/person?id=ada@shop.example")
    assert WRITER not in caplog.text
    assert "ada" not in caplog.text
