"""Logs: one form for our lines and the libraries', and no keys in them."""

import json
import logging
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.runtime.clickhouse import StoreUnavailableError
from services.runtime.http import exception_handlers, json_response
from services.runtime.keys import KeyCache, Scope
from services.runtime.logs import configure_logs, get_logger
from services.runtime.settings import LogSettings
from tests.fakes.keys import MemoryKeyStore

LIBRARIES = ("aiokafka", "faust", "mode", "uvicorn.access", "asyncio")
pytestmark = pytest.mark.usefixtures("logs_as_before")


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_lines_and_the_libraries_lines_have_one_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(log_level="info", log_format="json"), "edge")
    get_logger("services.edge.app").info("edge_starting", port=1)
    logging.getLogger("some.library").warning("careful: %s", "x")
    ours, theirs = written(capsys)
    assert (ours["event"], ours["port"], ours["level"]) == ("edge_starting", 1, "info")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("careful: x", "warning", "some.library")
    for line in (ours, theirs):
        assert line["service"] == "edge"
        assert line["timestamp"].endswith("Z")


def test_below_the_level_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(log_level="warning", log_format="json"), "edge")
    get_logger("a").info("quiet")
    get_logger("a").warning("loud")
    assert [line["event"] for line in written(capsys)] == ["loud"]


@pytest.mark.parametrize(("level", "expected"), [("info", logging.WARNING), ("error", logging.ERROR), ("debug", 10)])
def test_chatty_libraries_are_kept_quiet_unless_debugging(level: Any, expected: int) -> None:
    configure_logs(LogSettings(log_level=level), "worker")
    assert {logging.getLogger(name).level for name in LIBRARIES} == {expected}


def test_requests_to_kafka_are_never_written_whole() -> None:
    """They hold passwords and people's events."""
    configure_logs(LogSettings(log_level="debug"), "edge")
    assert not logging.getLogger("aiokafka.conn").isEnabledFor(logging.DEBUG)


def test_people_may_read_lines_without_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(log_format="console"), "edge")
    get_logger("a").info("hello", answer=42)
    line = capsys.readouterr().err
    assert "hello" in line
    assert not line.startswith("{")


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(log_format="json"), "edge")
    try:
        raise RuntimeError("bug")
    except RuntimeError as error:
        get_logger("a").error("internal_error", exc_info=error)
    (line,) = written(capsys)
    assert "RuntimeError: bug" in line["exception"]


SECRET = "hr_this_is_a_secret_key"


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_no_key_is_ever_written(
    level: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """401 by header and by address, with the store there and away, and a fault while a key is in the request."""
    monkeypatch.setattr("services.runtime.keys._ASK_AGAIN_S", 0.0)
    store = MemoryKeyStore()
    keys = KeyCache(store, refresh_s=60)
    await keys.refresh()

    async def call(request: Request) -> Response:
        token = request.query_params.get("key")
        header = request.headers.get("authorization")
        await (keys.authorize_key(token, Scope.INGEST) if token else keys.authorize(header, Scope.INGEST))
        return json_response({})

    async def broken(request: Request) -> Response:
        raise RuntimeError(f"while serving {request.url.path}")

    async def away(request: Request) -> Response:
        raise StoreUnavailableError("away")

    app = Starlette(
        routes=[Route("/call", call), Route("/broken", broken), Route("/away", away)],
        exception_handlers=exception_handlers("test"),
    )
    configure_logs(LogSettings(log_level=level, log_format="json"), "edge")
    for client_log in ("httpx", "httpcore"):
        logging.getLogger(client_log).disabled = True
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    statuses = []
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for available in (True, False):
            store.available = available
            for address in ("/call", "/broken", "/away"):
                by_header = await client.get(address, headers={"Authorization": f"Bearer {SECRET}"})
                by_address = await client.get(address, params={"key": SECRET})
                statuses += [by_header.status_code, by_address.status_code]
    # The second time ClickHouse is away: an unknown key may be one that was just made, so it is asked to come again.
    assert statuses == [401, 401, 500, 500, 503, 503, 503, 503, 500, 500, 503, 503]
    output = capsys.readouterr().err
    assert output.count('"internal_error"') == 4
    assert output.count('"keys_not_refreshed"') == 2
    assert SECRET not in output
