"""A session is a cookie that only the console can read, that other pages cannot send, and that ends."""

import time
from http.cookies import SimpleCookie

import pytest
from starlette.requests import Request
from starlette.responses import Response

from services.console.frame.session import COOKIE, Sessions, new_session
from services.runtime.environment import SettingsError
from tests.fakes.console_api import WRITER, settings

SESSION = new_session(WRITER, True)


def request_with(cookie: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", f"{COOKIE}={cookie}".encode("latin-1"))]})


def test_what_was_sealed_is_read_again() -> None:
    sessions = Sessions(settings())
    assert sessions.of(request_with(sessions.sealed(SESSION))) == SESSION


def test_the_key_does_not_stand_in_the_cookie() -> None:
    assert WRITER not in Sessions(settings()).sealed(SESSION)
    assert WRITER not in repr(SESSION)


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(settings(console_session_hours=1))
    sealed, now = sessions.sealed(SESSION), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3599)
    assert sessions.of(request_with(sealed)) == SESSION
    monkeypatch.setattr(time, "time", lambda: now + 3602)
    assert sessions.of(request_with(sealed)) is None


def test_a_cookie_that_somebody_made_or_changed_is_none() -> None:
    sessions, others = Sessions(settings()), Sessions(settings(console_secret="f" + settings().console_secret[1:]))
    sealed = sessions.sealed(SESSION)
    changed = sealed[:40] + ("B" if sealed[40] == "A" else "A") + sealed[41:]
    for cookie in ("", "x", "é", sealed[:-2], changed, others.sealed(SESSION)):
        assert sessions.of(request_with(cookie)) is None, cookie


@pytest.mark.parametrize("secure", [True, False])
def test_scripts_and_other_sites_do_not_get_the_cookie(secure: bool) -> None:
    response = Response()
    Sessions(settings(console_cookie_secure=secure)).give(response, SESSION)
    morsel = SimpleCookie(response.headers["set-cookie"])[COOKIE]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "strict", "/console")
    assert int(morsel["max-age"]) == 12 * 3600
    assert bool(morsel["secure"]) is secure


def test_without_a_secret_it_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"HEADRACE_CONSOLE_SECRET.*openssl rand"):
        Sessions(settings(console_secret=""))


def test_a_secret_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="can be guessed"):
        settings(console_secret="secret")
