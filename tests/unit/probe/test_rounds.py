"""The probe's rounds: what becomes of an event, and what freshness says meanwhile."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.contract.api.endpoints import BASE_PATH
from services.probe import rounds
from services.probe.app import create_app, main
from services.probe.rounds import Probe
from services.runtime.environment import SettingsError
from services.runtime.settings import ProbeSettings

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_ASK_EVERY_S", 0.0)


def probe_on(handler: Handler, timeout_s: float = 5) -> Probe:
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url="http://test")
    return Probe(client, 60, timeout_s)


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("headrace_probe_rounds_total", {"result": result}) or 0


class Pipeline:
    """Shows an event after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.sent: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.url.path == f"{BASE_PATH}/track":
            self.sent.append(body)
            return httpx.Response(200, json={"ok": True, "accepted": 1})
        assert request.url.path == f"{BASE_PATH}/query/events"
        self.asked.append(body)
        shown = self.sent if len(self.asked) > self.looks else []
        return httpx.Response(200, json={"events": shown})


async def test_an_event_is_seen() -> None:
    pipeline, before = Pipeline(looks=3), counted("seen")
    probe = probe_on(pipeline)
    assert await probe.round() == "seen"
    assert counted("seen") == before + 1
    (event,) = pipeline.sent
    assert event["event"] == "headrace_probe"
    assert len(pipeline.asked) == 4
    assert all(q["filter"]["properties.probe_id"] == event["properties"]["probe_id"] for q in pipeline.asked)
    assert 0 < probe.freshness_s() < 5
    assert REGISTRY.get_sample_value("headrace_probe_freshness_seconds") == probe.freshness_s()


async def test_each_round_has_an_event_of_its_own() -> None:
    pipeline = Pipeline(looks=0)
    probe = probe_on(pipeline)
    await probe.round()
    await probe.round()
    first, second = pipeline.sent
    assert first["properties"]["probe_id"] != second["properties"]["probe_id"]
    assert first["idempotency_key"] != second["idempotency_key"]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (lambda _: httpx.Response(429, json={}), "refused"),
        (lambda _: httpx.Response(503, json={}), "refused"),
        (Pipeline(looks=10**9), "unseen"),
    ],
)
async def test_what_goes_wrong_is_counted(answer: Handler, result: str) -> None:
    before = counted(result)
    assert await probe_on(answer, timeout_s=0.05).round() == result
    assert counted(result) == before + 1


@pytest.mark.parametrize(("call", "result"), [("track", "send_unanswered"), ("query/events", "query_unanswered")])
async def test_nobody_answers_a_call(call: str, result: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == f"{BASE_PATH}/{call}":
            raise httpx.ConnectError("nobody is there", request=request)
        return httpx.Response(200, json={"ok": True, "accepted": 1})

    before = counted(result)
    with capture_logs() as logged:
        assert await probe_on(answer).round() == result
    assert counted(result) == before + 1
    assert [line["call"] for line in logged if line["event"] == "probe_unanswered"] == [f"{BASE_PATH}/{call}"]


async def test_a_query_that_is_refused_is_named() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.url.path.endswith("/track") else 403, json={})

    with capture_logs() as logged:
        assert await probe_on(answer, timeout_s=0.02).round() == "unseen"
    (line,) = logged
    assert (line["event"], line["call"], line["status"]) == ("probe_refused", f"{BASE_PATH}/query/events", 403)


async def test_freshness_grows_while_events_are_not_seen() -> None:
    pipeline = Pipeline(looks=10**9)
    probe = probe_on(pipeline, timeout_s=0.02)
    await probe.round()
    await asyncio.sleep(0.5)
    await probe.round()
    waited_s = probe.freshness_s()
    assert waited_s > 0.5  # since the first of them, not since the last
    pipeline.looks = 0
    assert await probe.round() == "seen"
    assert probe.freshness_s() < waited_s


async def test_it_is_ready_after_a_round(unused_tcp_port: int) -> None:
    app = create_app(ProbeSettings(probe_url=f"http://127.0.0.1:{unused_tcp_port}", probe_key="hr_x"))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://probe")
    async with client, app.router.lifespan_context(app):
        assert (await client.get("/health/ready")).json()["checks"].keys() == {"round"}
        for _ in range(1000):
            if (await client.get("/health/ready")).status_code == 200:
                break
            await asyncio.sleep(0.01)
        assert (await client.get("/health/ready")).json() == {"ready": True, "checks": {"round": True}}
        text = (await client.get("/metrics")).text
    assert 'headrace_probe_rounds_total{result="send_unanswered"}' in text


def test_without_a_key_it_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.probe.app.start_service", lambda kind, service: kind(probe_key=""))
    with pytest.raises(SettingsError, match="HEADRACE_PROBE_KEY is missing: `headrace keys create --project probe`"):
        main()
