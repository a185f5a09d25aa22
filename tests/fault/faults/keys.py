"""Keys, and edges that start while ClickHouse is away."""

import asyncio
import time
from contextlib import suppress
from unittest.mock import patch

import aiohttp

from services.runtime.clickhouse import ClickHouse
from services.runtime.keys import Scope, create_key, hash_of, new_key, revoke_key
from tests.fault.faults import Fault
from tests.fault.processes import Service, until
from tests.fault.scene import Scene

_KNOWN_WITHIN_S = 45.0
_BEHIND_NS = 3600 * 10**9
_BASE = "/v1/analytics"


async def edge_starts_without_clickhouse(scene: Scene) -> None:
    """It takes the last known keys, and knows no others; a key that was revoked before is dead."""
    stack = scene.stack
    good, revoked = new_key(), new_key()
    await _make(scene, good)
    await _make(scene, revoked)
    for edge in stack.edges:
        await _until_status(scene, edge, good, 200)
        await _until_status(scene, edge, revoked, 200)
    await _revoke_under_a_clock_behind(scene, revoked)
    for edge in stack.edges:
        await _until_status(scene, edge, revoked, 401)
    # Edges write what has changed within a refresh.
    await asyncio.sleep(3.0)
    await stack.kill_clickhouse()
    edge = scene.rng.choice(stack.edges)
    await edge.kill()
    try:
        await edge.start()
        await _until_status(scene, edge, good, 200)
        for key in (revoked, new_key()):
            status = await _status(scene, edge, key)
            scene.check(status in (401, 503), f"{edge.name} answered {status} to a key that is not valid")
    finally:
        await stack.start_clickhouse()


async def _make(scene: Scene, key: str) -> None:
    store = await ClickHouse.connect(scene.stack.admin_settings())
    try:
        await create_key(store, key, "keys", {Scope.INGEST})
    finally:
        await store.close()


async def _revoke_under_a_clock_behind(scene: Scene, key: str) -> None:
    """An hour behind that of the machine on which it was made."""
    store = await ClickHouse.connect(scene.stack.admin_settings())
    try:
        with patch("time.time_ns", lambda: int(time.time() * 1e9) - _BEHIND_NS):
            scene.check(await revoke_key(store, hash_of(key)[:12]) == 1, "revoking says that it did nothing")
    finally:
        await store.close()


async def _status(scene: Scene, edge: Service, key: str) -> int:
    event = {"event": "e", "distinct_id": "p"}
    with suppress(aiohttp.ClientError, TimeoutError):
        async with scene.stack.http.post(
            f"{edge.url}{_BASE}/track", json=event, headers={"authorization": f"Bearer {key}"}
        ) as answer:
            return answer.status
    return 0


async def _until_status(scene: Scene, edge: Service, key: str, wanted: int) -> None:
    async def answers() -> bool:
        return await _status(scene, edge, key) == wanted

    await until(answers, f"{edge.name} answers {wanted}", _KNOWN_WITHIN_S)


KEYS = (Fault("edge starts while ClickHouse is away", edge_starts_without_clickhouse),)
