"""gateway.conf sends each call to its half, answers in the contract's shape, and lets through what the edge takes."""

import json
import re

import pytest

from services.contract.api.endpoints import BASE_PATH, INGEST_CALLS, Call
from services.contract.api.errors import ErrorCode
from services.contract.api.openapi import CALLS
from services.contract.api.sdk import GET_PATHS, POST_PATHS, sdk_path
from services.runtime.settings import EdgeSettings
from tests.deploy.env_file import DEPLOY
from tests.deploy.nginx_conf import Directive, location_of, read_conf
from tests.support.compose import environment_of, load_compose

HTTP = read_conf((DEPLOY / "gateway.conf").read_text()).one("http")
INSIDE, SERVER = HTTP.all("server")
UPSTREAMS = {upstream.words[0]: upstream for upstream in HTTP.all("upstream")}


def half_of(path: str) -> str | None:
    """edge, query, or None where the gateway answers itself."""
    passes = location_of(SERVER, path).all("proxy_pass")
    return passes[0].words[0].removeprefix("http://") if passes else None


def example(call: Call) -> str:
    return BASE_PATH + call.path.replace("{", "").replace("}", "")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_call_goes_to_the_half_that_answers_it(call: Call) -> None:
    wanted = "edge" if call in INGEST_CALLS else "query"
    assert half_of(example(call)) == wanted, f"give {call.path} a location in deploy/gateway.conf"


@pytest.mark.parametrize(
    ("path", "half"),
    [
        ("/openapi.json", "edge"),
        ("/docs", "edge"),
        ("/docs/swagger-ui.js", "edge"),
        ("/v1/analytics", "edge"),
        ("/v1/analytics/track", "edge"),
        ("/v1/analytics/nowhere", "edge"),
        ("/v1/analytics/query/events", "query"),
        ("/v1/analytics/dashboard/get/an-id", "query"),
        ("/v1/analytics/persons/list", "query"),
        ("/v1/analytics/privacy/erase", "query"),
    ],
)
def test_halves_by_path(path: str, half: str) -> None:
    assert half_of(path) == half


@pytest.mark.parametrize("path", ["/", "/console", "/console/", "/console/people", "/console/assets/a/base.js"])
def test_pages_go_to_the_console(path: str) -> None:
    assert half_of(path) == "console"


@pytest.mark.parametrize("path", ["/consoles", "/docsx", "/metrics", "/health/live", "/health/ready", "/lag", "/v1"])
def test_what_is_for_operators_stays_inside(path: str) -> None:
    assert half_of(path) is None
    assert location_of(SERVER, path).one("return").words == ["404"]
    assert ["404", "/refused/not_found"] in [each.words for each in SERVER.all("error_page")]


def test_the_health_of_the_gateway_is_for_its_own_container() -> None:
    assert INSIDE.one("listen").words == ["127.0.0.1:8081"]
    assert "http://127.0.0.1:8081/health/live" in load_compose()["services"]["gateway"]["healthcheck"]["test"]
    assert SERVER.one("listen").words[0] == "8080"


def test_there_are_no_locations_that_this_test_cannot_judge() -> None:
    for location in SERVER.all("location"):
        first = location.words[0]
        assert first in ("=", "~") or first.startswith(("/", "@")), location.words


@pytest.mark.parametrize("half", ["edge", "query", "console"])
def test_upstreams_are_the_services_and_are_looked_up_again(half: str) -> None:
    service = load_compose()["services"][half]
    passwords = {f"{name.upper()}_CLICKHOUSE_PASSWORD": "x" for name in ("admin", "edge", "worker", "query")}
    port = environment_of(service, {**passwords, "CONSOLE_SECRET": "x"})[f"HEADRACE_{half.upper()}_PORT"]
    server = UPSTREAMS[half].one("server")
    assert server.words[0] == f"{half}:{port}"
    assert "resolve" in server.words
    assert UPSTREAMS[half].all("zone"), "nginx looks names up again only in a group with a zone"


def test_connections_are_given_up_before_the_services_give_them_up() -> None:
    """uvicorn closes an idle connection after 5 s; a POST that meets the closing one could not be sent again."""
    for upstream in UPSTREAMS.values():
        assert int(upstream.one("keepalive_timeout").words[0].removesuffix("s")) < 5


def test_posts_are_not_sent_twice() -> None:
    assert "non_idempotent" not in SERVER.one("proxy_next_upstream").words


def test_bodies_that_an_edge_can_be_set_to_take_pass() -> None:
    (limit,) = [m.le for m in EdgeSettings.model_fields["edge_max_body_bytes"].metadata if hasattr(m, "le")]
    assert int(SERVER.one("client_max_body_size").words[0].removesuffix("m")) * 1024 * 1024 >= limit
    assert SERVER.one("proxy_request_buffering").words == ["off"]


def own_errors() -> list[Directive]:
    return [d.one("return") for d in SERVER.all("location") if d.words[-1].startswith(("/refused/", "@"))]


@pytest.mark.parametrize("answer", own_errors(), ids=lambda answer: answer.words[0])
def test_the_gateway_s_own_errors_have_the_contract_s_shape(answer: Directive) -> None:
    status, text = answer.words
    body = json.loads(text)
    statuses = {code.code: code.status for code in ErrorCode}
    assert set(body) == {"error", "request_id"}
    assert statuses[body["error"]["code"]] == int(status)
    assert body["error"]["message"]


def test_nobody_answering_says_when_to_come_back() -> None:
    for half in ("edge", "query", "console"):
        location = next(d for d in SERVER.all("location") if d.words == [f"@{half}_unavailable"])
        assert ["Retry-After", "2", "always"] in [d.words for d in location.all("add_header")]


def logged(uri: str) -> str:
    """As the map says: the first expression that matches, else the default. PCRE and Python agree on what is used here."""
    (calls,) = [each for each in HTTP.all("map") if each.words == ["$uri", "$headrace_call"]]
    for entry in calls.block:
        if entry.name.startswith("~"):
            found = re.search(entry.name[1:].replace("(?<", "(?P<"), uri)
            if found:
                shown = entry.words[0]
                return found[shown.removeprefix("$")] if shown.startswith("$") else shown
    return calls.one("default").words[0]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("/v1/analytics/track", "/v1/analytics/track"),
        ("/v1/analytics/batch/", "/v1/analytics/batch"),
        ("/v1/analytics/query/events", "/v1/analytics/query/events"),
        ("/v1/analytics/dashboard/get/0b1c", "/v1/analytics/dashboard/get"),
        ("/v1/analytics/privacy/delete/0b1c", "/v1/analytics/privacy/delete"),
        ("/v1/analytics/persons/ada@shop.example", "/v1/analytics/persons"),
        ("/v1/analytics/persons/a/b\nc", "/v1/analytics/persons"),
        ("/v1/analytics/personsx/ada@shop.example", "other"),
        ("/v1/analytics/query/ada@shop.example", "other"),
        ("/v1/analytics/ada@shop.example", "other"),
        ("/ada@shop.example", "other"),
        ("/x/v1/analytics/track", "other"),
        ("/docs/swagger-ui.js", "/docs"),
        ("/openapi.json", "/openapi.json"),
        ("/console/", "/console"),
        ("/console/people/ada", "/console/people"),
        ("/console/ada@shop.example", "/console"),
    ],
)
def test_what_is_logged_of_a_path_names_the_call_and_nobody(uri: str, shown: str) -> None:
    assert logged(uri) == shown


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_call_is_logged_by_its_name(call: Call) -> None:
    assert logged(example(call)) == (BASE_PATH + call.path).partition("/{")[0]


SDK_PATHS = sorted({path for paths in (*POST_PATHS.values(), *GET_PATHS.values()) for path in paths})


@pytest.mark.parametrize("path", SDK_PATHS)
@pytest.mark.parametrize("end", ["", "/"])
def test_the_addresses_of_sdks_go_to_the_edge_and_are_logged_without_keys(path: str, end: str) -> None:
    asked = path.replace("*", "hr_secret") + end
    assert half_of(asked) == "edge"
    assert logged(asked) == path
    assert sdk_path(asked) == path


@pytest.mark.parametrize("path", ["/v1/tracks", "/v1/batch/x", "/xe", "/array/a/b/config", "/v1/projects//settings"])
def test_what_looks_like_an_address_of_sdks_is_none(path: str) -> None:
    assert half_of(path) is None
    assert logged(path) == "other"
    assert sdk_path(path) is None


def test_keys_in_addresses_are_not_logged() -> None:
    form = " ".join(HTTP.one("log_format").words)
    for variable in (
        "$request ",
        '"$request"',
        "$request_uri",
        "$args",
        "$query_string",
        "$http_authorization",
        "$uri",
    ):
        assert variable not in form
    assert HTTP.one("error_log").words == ["stderr", "crit"]
