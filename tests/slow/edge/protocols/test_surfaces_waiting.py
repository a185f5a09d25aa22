"""Requests of SDKs that wait: while the log is away, and for a turn of a limit."""

import asyncio
import json
import time

import pytest

from services.edge.event_log.port import LogUnavailableError, Packed
from tests.unit.edge.protocols.conftest import KEY, OTHER_KEY, SdkEdge
from tests.unit.edge.protocols.test_surfaces import LIMITED, every_family, holding, send


@every_family
@holding(5.0)
async def test_a_request_waits_while_the_log_is_away(sdk: SdkEdge, family: str) -> None:
    """Some SDKs try three times within a second and then lose what they have."""
    sdk.log.available = False
    asyncio.get_running_loop().call_later(0.3, setattr, sdk.log, "available", True)
    assert (await send(sdk, family)).status_code == 200
    assert len(sdk.events) == 1
    assert sdk.held.held_bytes == 0


@holding(5.0)
async def test_what_is_in_the_log_is_not_written_again_while_the_rest_waits(
    sdk: SdkEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of many attempts wrote the dead letters of the request once more."""
    append, attempts = sdk.log.append_packed, []

    async def append_late(records: Packed) -> None:
        attempts.append(records)
        if len(attempts) < 4:
            raise LogUnavailableError("too much waits for the event log already")
        await append(records)

    monkeypatch.setattr(sdk.log, "append_packed", append_late)
    track, identify = {"type": "track", "event": "e", "userId": "u"}, {"type": "identify", "userId": "u"}
    body = {"batch": [track, identify, {"type": "odd"}], "writeKey": KEY}
    assert (await sdk.client.post("/v1/batch", json=body)).status_code == 200
    assert (len(sdk.events), len(sdk.identity), len(sdk.letters)) == (1, 1, 1)
    assert attempts == [attempts[0]] * 4  # each about the same records


@every_family
@holding(0.3)
async def test_a_request_is_refused_when_the_log_stays_away(sdk: SdkEdge, family: str) -> None:
    sdk.log.available = False
    started = time.monotonic()
    response = await send(sdk, family)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert time.monotonic() - started > 0.15
    assert sdk.held.held_bytes == 0
    assert sdk.is_empty


@holding(5.0)
async def test_not_more_is_held_than_there_is_room_for(sdk: SdkEdge) -> None:
    sdk.log.available = False
    body = {"event": "e", "userId": "u", "properties": {"a": "x" * 400_000}, "writeKey": KEY}
    held = [asyncio.create_task(sdk.client.post("/v1/track", content=json.dumps(body))) for _ in range(2)]
    done, waiting = await asyncio.wait(held, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status_code for task in done] == [503]
    sdk.log.available = True
    assert [(await task).status_code for task in waiting] == [200]
    assert sdk.held.held_bytes == 0


@holding(3.0, requests_s=1)
async def test_a_request_waits_for_its_turn_of_a_limit(sdk: SdkEdge) -> None:
    """The bucket holds two."""
    assert [(await send(sdk, "segment")).status_code for _ in range(3)] == [200, 200, 200]


@every_family
@holding(0.5, requests_s=1)
async def test_who_is_over_a_limit_for_longer_waits_before_it_is_said(sdk: SdkEdge, family: str) -> None:
    """Some try three times within a second, and Go's without a rest, whatever Retry-After says."""
    for _ in range(2):
        await send(sdk, family)
    started = time.monotonic()
    assert (await send(sdk, family)).status_code == LIMITED.get(family, 429)
    assert time.monotonic() - started > 0.4
    assert (await send(sdk, family)).status_code == 200


@holding(3.0, requests_s=1)
async def test_who_waits_for_a_limit_keeps_nobody_from_a_turn(sdk: SdkEdge) -> None:
    """Larger bodies take turns. One whose key is in it, and whose project is over its limit, must not wait in its turn."""

    def body(key: str) -> bytes:
        return json.dumps({"event": "e", "userId": "u", "properties": {"a": "x" * 20_000}, "writeKey": key}).encode()

    waiting = [asyncio.create_task(sdk.client.post("/v1/track", content=body(KEY))) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert sum(task.done() for task in waiting) == 2
    started = time.monotonic()
    assert (await sdk.client.post("/v1/track", content=body(OTHER_KEY))).status_code == 200
    assert time.monotonic() - started < 0.5
    assert not all(task.done() for task in waiting)
    assert [(await task).status_code for task in waiting] == [200] * 3
