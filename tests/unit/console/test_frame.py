"""What all pages have: headers, assets, errors as pages, and lines for curl."""

import gzip
import re
import shlex

import httpx
import pytest
import zstandard

from services.console.frame.api import AnswerError, address_of, part, problem_of
from services.console.frame.assets import Assets
from services.console.frame.curl import curl_line
from services.console.frame.headers import page_headers
from services.console.frame.navigation import NAVIGATION
from services.console.frame.show import number, share, value_text
from tests.fakes.console_api import FakeApi, browser


def policy(headers: dict[str, str]) -> dict[str, str]:
    return dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))


def test_nothing_of_the_page_s_text_runs_and_nothing_comes_from_elsewhere() -> None:
    rules = policy(page_headers())
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert rules["style-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["form-action"] == rules["connect-src"] == "'self'"
    assert not re.search(r"unsafe-|https?:|\*", page_headers()["content-security-policy"])


@pytest.mark.parametrize("path", ["/console/sign-in", "/console/nowhere", "/console/live", "/console/assets/x/y.js"])
async def test_every_answer_has_the_headers(path: str) -> None:
    async with browser(FakeApi(), key=None) as client:
        headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]


async def test_the_root_leads_to_the_console() -> None:
    async with browser(FakeApi(), key=None) as client:
        for path in ("/", "/console"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
        for path in ("/console//live", "/console/live/", "/console/live%0A"):
            assert (await client.get(httpx.URL(f"http://console.test{path}"))).status_code == 404


@pytest.mark.parametrize(
    ("encoding", "unpack"), [("gzip", gzip.decompress), ("zstd", zstandard.decompress), ("", bytes)]
)
async def test_assets_are_packed_and_kept_for_ever(encoding: str, unpack: object) -> None:
    assets = Assets()
    async with browser(FakeApi(), key=None) as client:
        for name in ("console.css", "base.js", "mark.svg"):
            headers = {"accept-encoding": encoding or "identity"}
            async with client.stream("GET", assets.address(name), headers=headers) as answer:
                raw = b"".join([piece async for piece in answer.aiter_raw()])
            assert answer.status_code == 200
            assert answer.headers.get("content-encoding", "") == encoding
            assert "immutable" in answer.headers["cache-control"]
            plain = zstandard.ZstdDecompressor().decompressobj().decompress(raw) if encoding == "zstd" else unpack(raw)  # type: ignore[operator]
            assert plain == assets._assets[assets._places[name]].plain
        assert (await client.get("/console/assets/000000000000/base.js")).status_code == 404


def test_our_own_assets_are_small_and_ask_for_nothing_elsewhere() -> None:
    assets = Assets()
    assert sum(len(asset.gzip) for asset in assets._assets.values()) < 30_000
    for asset in assets._assets.values():
        text = asset.plain.decode().replace("http://www.w3.org/", "")
        assert not re.search(r"https?://|@import|\beval\(|innerHTML|insertAdjacentHTML|document\.write", text)


def test_errors_of_the_api_are_values() -> None:
    body = b'{"error": {"code": "invalid_field", "message": "`limit`: no", "field": "limit"}, "request_id": "r"}'
    problem = problem_of(400, body)
    assert (problem.status, problem.code, problem.message, problem.field) == (
        400,
        "invalid_field",
        "`limit`: no",
        "limit",
    )
    assert isinstance(problem, AnswerError)
    assert problem_of(502, b"<html>").message == "The API answered with status 502. Try again."


def test_ids_are_one_part_of_a_path() -> None:
    assert part("a/b ?#%") == "a%2Fb%20%3F%23%25"
    assert part("..") == "%2E%2E"
    assert address_of("/persons", {"search": "ü", "limit": None}) == "/v1/analytics/persons?search=%C3%BC"


def test_a_line_for_curl_is_what_a_shell_takes() -> None:
    line = curl_line("http://h", "POST", "/query/events", {"filter": {"event": "it's $HOME `x`"}}, accept="text/csv")
    words = shlex.split(line)
    assert words[:4] == ["curl", "-X", "POST", "http://h/v1/analytics/query/events"]
    assert "Authorization: Bearer $INFRAI_API_KEY" in words
    assert words[-1] == '{"filter":{"event":"it\'s $HOME `x`"}}'
    assert shlex.split(curl_line("http://h", "GET", "/persons", params={"search": "a b"}))[1].endswith("?search=a+b")


def test_numbers_have_thin_separators() -> None:
    assert [number(value) for value in (31106, 12, 0.25, 1234567.5, None)] == [
        "31\u202f106",
        "12",
        "0.25",
        "1\u202f234\u202f568",
        "–",
    ]
    assert [number(value) for value in (9999.4, 9999.75, -9999.5, 2.0**60, 1e21, -1.5e300)] == [
        "9\u202f999",
        "10\u202f000",
        "-10\u202f000",
        "1\u202f152\u202f921\u202f504\u202f606\u202f846\u202f976",
        "1e+21",
        "-1.5e+300",
    ]
    assert [share(value) for value in (0.0, 0.125, 1.0, None)] == ["0\u202f%", "12.5\u202f%", "100\u202f%", "–"]


def test_json_texts_are_shown_without_quotes() -> None:
    assert [value_text(text) for text in (b'"a\\u00e9"', b"1.50", b'{"a": 1}', b"null")] == [
        "aé",
        "1.50",
        '{"a": 1}',
        "null",
    ]


def test_the_menu_has_a_key_for_each_page() -> None:
    places = [place for part_of in NAVIGATION for place in part_of.places]
    assert len({place.key for place in places}) == len(places)
    assert [place.name for place in places if place.is_at("/console/people/x")] == ["People"]
