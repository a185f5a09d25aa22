"""Whatever comes to the SDK surfaces, it is no fault of the server."""

import json

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from services.runtime.byte_budget import ByteBudget
from services.runtime.keys import KeyCache
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.keys import MemoryKeyStore
from tests.unit.edge.protocols.conftest import KEY, sdk_edge_app
from tests.unit.edge.protocols.test_surfaces import every_family

_texts = st.sampled_from(["e", "", "$identify", "null", "a\0b", "\ud800", "2026-11-20T12:00:00Z", KEY])


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_texts, inner, max_size=3)),
    max_leaves=6,
)


_names = st.sampled_from(
    [
        "type",
        "event",
        "userId",
        "anonymousId",
        "messageId",
        "traits",
        "context",
        "properties",
        "groupId",
        "previousId",
        "timestamp",
        "sentAt",
        "distinct_id",
        "uuid",
        "$set",
        "$unset",
        "offset",
        "token",
        "time",
        "insert_id",
        "device_id",
        "user_id",
        "event_type",
        "user_properties",
        "groups",
        "$token",
        "$distinct_id",
    ]
)


_bodies = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda messages, field: json.dumps({"api_key": KEY, "writeKey": KEY, "token": KEY, field: messages}).encode(),
        st.one_of(_values, st.lists(st.dictionaries(_names, _values, max_size=8), max_size=3)),
        st.sampled_from(["batch", "events", "data"]),
    ),
    st.builds(lambda message: json.dumps(message).encode(), st.dictionaries(_names, _values, max_size=8)),
    st.builds(lambda text: b"data=" + text, st.binary(max_size=30)),
    st.builds(lambda text: b"client=%b&e=" % KEY.encode() + text, st.binary(max_size=30)),
)


FUZZED = {
    "segment": ("/v1/batch", "/v1/identify"),
    "posthog": ("/batch", "/i/v1/analytics/events"),
    "amplitude": ("/2/httpapi",),
    "mixpanel": ("/track", "/engage", "/groups"),
}


_DEEP = b'{"batch":[{"type":"track","event":"e","distinct_id":"u","properties":' + b"[" * 3000 + b"]" * 3000 + b"}]}"


@every_family
@given(body=_bodies)
@example(body=_DEEP)
@example(body=_DEEP.replace(b"batch", b"events"))
@example(body=_DEEP[10:-2])
@example(body=b"data=" + b"&" * 500)
async def test_nothing_that_comes_is_a_fault_of_the_server(family: str, body: bytes) -> None:
    log, store = MemoryEventLog(), MemoryKeyStore()
    store.put(KEY, "shop", "ingest")
    keys = KeyCache(store, refresh_s=60)
    await keys.refresh()
    app = sdk_edge_app(log, keys, ByteBudget(1 << 20))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        for path in FUZZED[family]:
            response = await client.post(path, content=body, headers={"authorization": f"Bearer {KEY}"})
            assert response.status_code in (200, 400, 401), (path, response.text)
