"""FastStream, as its documentation has it: an ASGI route that publishes, a batch subscriber that inserts.

It has no state of its own: repeats are left to ReplacingMergeTree. `BENCH_ROLE` says which half this process is.
"""

import asyncio
import gzip
import json
import os
from typing import Any

import uvicorn
from faststream import AckPolicy, FastStream
from faststream.asgi import AsgiFastStream, AsgiResponse, get, post
from faststream.asgi.annotations import Request
from faststream.kafka import KafkaBroker

from tests.bench.peers.events_table import COLUMNS, connect, row_of

TOPIC = os.environ["BENCH_TOPIC"]
AUTHORIZATION = f"Bearer {os.environ['BENCH_KEY']}"
BLOCK_EVENTS = 16_000  # one block of the driver

broker = KafkaBroker(
    os.environ["HEADRACE_KAFKA_BOOTSTRAP"],
    acks="all",
    enable_idempotence=os.environ["HEADRACE_KAFKA_IDEMPOTENCE"] == "True",
    compression_type="snappy",
    max_batch_size=1024 * 1024,
    logger=None,
)


async def take(request: Request) -> AsgiResponse:
    if request.headers.get("authorization") != AUTHORIZATION:
        return AsgiResponse(b'{"error":"unauthorized"}', 401)
    body = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    events = json.loads(body)["events"]
    await broker.publish_batch(*events, topic=TOPIC)
    return AsgiResponse(b'{"ok":true,"accepted":%d}' % len(events), 200, {"content-type": "application/json"})


async def live(scope: Any) -> AsgiResponse:
    return AsgiResponse(b"ok\n", 200)


def edge() -> None:
    app = AsgiFastStream(broker, asgi_routes=[("/v1/analytics/batch", post(take)), ("/health/live", get(live))])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


def worker() -> None:
    client = connect()

    subscriber = broker.subscriber(
        TOPIC,
        group_id=os.environ["HEADRACE_WORKER_GROUP"],
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        batch=True,
        max_records=BLOCK_EVENTS,
    )

    async def store(events: list[dict[str, Any]]) -> None:
        await asyncio.to_thread(client.insert, "events", [row_of(event) for event in events], COLUMNS)

    subscriber(store)
    asyncio.run(FastStream(broker).run())


if __name__ == "__main__":
    edge() if os.environ["BENCH_ROLE"] == "edge" else worker()
