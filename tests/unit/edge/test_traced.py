"""A request that is traced: its spans, and what its records carry. One that is not carries nothing."""

from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.contract.api.endpoints import BASE_PATH
from services.contract.log.envelope import TRACE_HEADER, merge, pack
from services.edge.event_log.kafka import KafkaEventLog
from services.edge.http.traced import TracedCalls, TracedLog
from services.runtime.keys import KeyCache
from services.runtime.settings import EdgeSettings
from services.runtime.traces import CURRENT, Traces
from services.worker.record import Record
from services.worker.traced import traced_store
from tests.fakes.keys import MemoryKeyStore
from tests.unit.edge.conftest import INGEST_KEY, application
from tests.unit.edge.test_event_log import Log, agree, ready_log

EVENT = {"event": "e", "distinct_id": "d"}
HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Traced:
    """An edge whose log is the real one over a producer in memory."""

    def __init__(self, log: Log, ratio: float, keys: KeyCache) -> None:
        self.exporter = InMemorySpanExporter()
        self.traces = Traces(self.exporter, ratio, "edge")
        self.producer = log.producer
        app = TracedCalls(application(TracedLog(log.log, self.traces), keys), self.traces)  # type: ignore[arg-type]
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://edge",
            headers={"authorization": f"Bearer {INGEST_KEY}"},
        )

    def spans(self) -> Sequence[ReadableSpan]:
        self.traces.flush()
        return self.exporter.get_finished_spans()


@pytest.fixture
async def traced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Traced]:
    store = MemoryKeyStore()
    store.put(INGEST_KEY, "shop", "ingest")
    keys = KeyCache(store, refresh_s=60)
    await keys.refresh()
    ready = await ready_log(monkeypatch, edge_publish_timeout_s=5)
    await ready.log.stop()
    log = KafkaEventLog(EdgeSettings(), agree, trace=CURRENT.get)
    await log.start()
    edge = Traced(Log(log, ready.producer, [False], [0]), request.param, keys)
    yield edge
    await edge.client.aclose()
    await log.stop()
    edge.traces.close()


@pytest.mark.parametrize("traced", [1.0], indirect=True)
async def test_from_the_request_to_the_insert(traced: Traced) -> None:
    answer = await traced.client.post(f"{BASE_PATH}/track", json=EVENT, headers={"traceparent": HEADER})
    assert answer.status_code == 200
    (sent,) = traced.producer.sent

    async def store(records: list[Record]) -> None:
        assert len(records) == 2

    record = Record(sent.topic, 3, 17, sent.value, sent.headers["ids"], lambda: None, 0.0, sent.headers[TRACE_HEADER])
    other = Record(sent.topic, 3, 18, sent.value, sent.headers["ids"], lambda: None)
    await traced_store(traced.traces, "store events", store)([record, other])

    spans = {span.name: span for span in traced.spans()}
    assert list(spans) == ["append events", "POST /v1/analytics/track", "store events"]
    append, request, stored = spans.values()
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == HEADER.split("-")[2]
    assert append.parent is not None
    assert request.context is not None
    assert append.parent.span_id == request.context.span_id
    assert stored.parent is not None
    assert append.context is not None
    assert stored.parent.span_id == append.context.span_id
    assert {span.context.trace_id for span in spans.values() if span.context} == {int(HEADER.split("-")[1], 16)}
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert stored.attributes is not None
    assert stored.attributes["messaging.kafka.offset"] == 17
    assert stored.attributes["messaging.batch.message_count"] == 1


@pytest.mark.parametrize("traced", [1.0], indirect=True)
async def test_nothing_of_what_people_send_is_in_a_span(traced: Traced) -> None:
    secret = {"event": "secret-name", "distinct_id": "secret-id", "properties": {"a": "secret-value"}}
    await traced.client.post(f"{BASE_PATH}/batch?key=secret-key", json={"events": [secret]})
    await traced.client.post(
        f"{BASE_PATH}/identify", json={"distinct_id": "secret-id", "traits": {"a": "secret-value"}}
    )
    await traced.client.post("/v1/analytics/secret-path", json={})
    spans = traced.spans()
    assert len(spans) == 5
    for span in spans:
        assert "secret" not in span.to_json()
        assert INGEST_KEY not in span.to_json()


@pytest.mark.parametrize("traced", [0.0], indirect=True)
async def test_what_is_not_sampled_carries_nothing(traced: Traced) -> None:
    for headers in ({}, {"traceparent": HEADER}):
        answer = await traced.client.post(f"{BASE_PATH}/track", json=EVENT, headers=headers)
        assert answer.status_code == 200
        await traced.client.post(f"{BASE_PATH}/identify", json={"distinct_id": "d"}, headers=headers)
    assert len(traced.producer.sent) == 4
    assert all(set(sent.headers) == {"ids"} for sent in traced.producer.sent)
    assert traced.spans() == ()


def test_of_envelopes_that_become_one_the_first_trace_stays() -> None:
    plain = pack([bytes(16)], [])
    one, two = (type(plain)(bytes(16), b"{}\n", trace) for trace in (b"one", b"two"))
    assert merge([plain, one, two]).trace == b"one"
    assert merge([plain, plain]).trace == b""
    assert merge([plain, one, two]).headers() == [("ids", bytes(48)), (TRACE_HEADER, b"one")]
