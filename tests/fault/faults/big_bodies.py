"""What a client can send to fill a process: bodies that never end, events that compress to nothing, pages of large events.

Each process stays below its bound, whatever is sent.
"""

import asyncio
import gzip
import json
import time
import uuid
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp

from services.runtime.clickhouse import ClickHouse
from services.runtime.keys import Scope, create_key, new_key
from tests.fault.faults import Fault
from tests.fault.processes import Service, until
from tests.fault.scene import Scene

# The largest resident memory, in MiB. A worker's is beside its index, which is small here.
EDGE_MIB, WORKER_MIB, QUERY_MIB = 400, 600, 500
_UNFINISHED, _UNFINISHED_BYTES = 150, 10 * 1024 * 1024 - 1000
_HELD_S = 4.0
# Of 10 MiB each.
_BODIES = 100
_PROJECTS = 20
_LARGE_EVENTS = 40
_STORED_WITHIN_S = 120.0
_BASE = "/v1/analytics"


def _check(scene: Scene, service: Service, bound_mib: int) -> None:
    peak = service.peak_rss_bytes >> 20
    scene.check(peak <= bound_mib, f"{service.name} took {peak} MiB, more than {bound_mib}")


async def unfinished_bodies(scene: Scene) -> None:
    """150 bodies of 10 MB, of which the last bytes never come. Of another project: its own share of bytes is used up."""
    edge = scene.stack.edges[0]
    _, key = await _new_project(scene)
    connections = await asyncio.gather(*[_unfinished(edge, key) for _ in range(_UNFINISHED)])
    await asyncio.sleep(_HELD_S)
    for writer in connections:
        if writer is not None:
            writer.close()
    _check(scene, edge, EDGE_MIB)


async def _unfinished(edge: Service, key: str) -> asyncio.StreamWriter | None:
    address = urlsplit(edge.url)
    with suppress(OSError):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        head = (
            f"POST {_BASE}/batch HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {_UNFINISHED_BYTES + 1000}\r\n\r\n"
        )
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_HELD_S):
                writer.write(head.encode())
                for _ in range(_UNFINISHED_BYTES // 65536):
                    writer.write(b" " * 65536)
                    await writer.drain()
        return writer
    return None


async def compressible_events(scene: Scene) -> None:
    """A gigabyte that compresses to nothing waits in the log, and one worker has all of it to read."""
    project, key = await _new_project(scene)
    filler = "x" * 9_000
    for worker in scene.stack.workers:
        await worker.kill()
    sent = 0
    for _ in range(_BODIES):
        events = [{"event": "e", "distinct_id": f"p{n}", "properties": {"filler": filler}} for n in range(1000)]
        await _accepted(scene, key, gzip.compress(json.dumps({"events": events}).encode(), 1))
        sent += len(events)
    worker = scene.stack.workers[0]
    worker.peak_rss_bytes = 0
    await worker.start()
    await _stored(scene, project, sent)
    for other in scene.stack.workers[1:]:
        await other.start()
    _check(scene, worker, WORKER_MIB)
    for edge in scene.stack.edges:
        _check(scene, edge, EDGE_MIB)


async def large_pages(scene: Scene) -> None:
    """Twenty projects ask at once for pages of large events, and for others that they never read."""
    keys = []
    for _ in range(_PROJECTS):
        project, key = await _new_project(scene)
        await scene.stack.sql(
            "INSERT INTO headrace.events (project_id, event_id, event, distinct_id, timestamp, received_at, properties) "
            f"SELECT '{project}', generateUUIDv4(), 'e', 'p', now64(6), now64(6), "
            f"concat('{{\"filler\":\"', repeat('x', 500000), '\"}}') FROM numbers({_LARGE_EVENTS})"
        )
        keys.append(key)
    query = scene.stack.query
    unread = await asyncio.gather(*[_unread(query, key) for key in keys * 4])
    await asyncio.sleep(_HELD_S)
    for writer in unread:
        writer.close()
    read = await asyncio.gather(*[_walk(scene, query, key) for key in keys])
    scene.check(read == [_LARGE_EVENTS] * _PROJECTS, f"pages have {sorted(set(read))} events of {_LARGE_EVENTS}")
    _check(scene, query, QUERY_MIB)


async def _unread(query: Service, key: str) -> asyncio.StreamWriter:
    address = urlsplit(query.url)
    body = json.dumps({"since": "2024-01-01", "until": "2100-01-01"})
    _, writer = await asyncio.open_connection(address.hostname, address.port, limit=1)
    writer.write(
        f"POST {_BASE}/query/events HTTP/1.1\r\nHost: query\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return writer


async def _walk(scene: Scene, query: Service, key: str) -> int:
    """The number of events on all pages."""
    body: dict[str, object] = {"since": "2024-01-01", "until": "2100-01-01"}
    count = 0
    give_up_at = time.monotonic() + _STORED_WITHIN_S
    while time.monotonic() < give_up_at:
        async with scene.stack.http.post(
            f"{query.url}{_BASE}/query/events", json=body, headers={"authorization": f"Bearer {key}"}
        ) as answer:
            if answer.status in (429, 503):
                await asyncio.sleep(0.2)
                continue
            page = await answer.json()
        count += len(page["events"])
        if "next_cursor" not in page:
            return count
        body["cursor"] = page["next_cursor"]
    return count


async def _new_project(scene: Scene) -> tuple[str, str]:
    project, key = f"big-{uuid.uuid4().hex[:12]}", new_key()
    store = await ClickHouse.connect(scene.stack.admin_settings())
    try:
        await create_key(store, key, project, {Scope.INGEST, Scope.QUERY})
    finally:
        await store.close()
    return project, key


async def _accepted(scene: Scene, key: str, body: bytes) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "content-encoding": "gzip"}
    give_up_at = time.monotonic() + _STORED_WITHIN_S
    while time.monotonic() < give_up_at:
        edge = scene.rng.choice(scene.stack.edges)
        with suppress(aiohttp.ClientError, TimeoutError):
            async with scene.stack.http.post(f"{edge.url}{_BASE}/batch", data=body, headers=headers) as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.2)
    raise TimeoutError("a large body was not accepted")


async def _stored(scene: Scene, project: str, count: int) -> None:
    async def is_stored() -> bool:
        rows = await scene.stack.sql(f"SELECT count() FROM headrace.events WHERE project_id = '{project}'")
        return int(rows) >= count

    await until(is_stored, "large events are stored", _STORED_WITHIN_S)


BIG_BODIES = (
    Fault("events that compress to nothing", compressible_events),
    Fault("bodies that never end", unfinished_bodies),
    Fault("pages of large events", large_pages),
)
