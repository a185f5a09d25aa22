"""The naive edge: one JSON parse to dictionaries, one Kafka record an event, an answer when all are acknowledged."""

import asyncio
import contextlib
import gzip
import json
import os
from collections.abc import AsyncIterator

import uvicorn
from aiokafka import AIOKafkaProducer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOPIC = os.environ["BENCH_TOPIC"]
AUTHORIZATION = f"Bearer {os.environ['BENCH_KEY']}"
producer: AIOKafkaProducer


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    global producer
    idempotent = os.environ["HEADRACE_KAFKA_IDEMPOTENCE"] == "True"
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["HEADRACE_KAFKA_BOOTSTRAP"],
        acks="all",
        enable_idempotence=idempotent,
        compression_type="snappy",
        linger_ms=5,
    )
    async with producer:
        yield


async def take(request: Request) -> Response:
    if request.headers.get("authorization") != AUTHORIZATION:
        return JSONResponse({"error": "unauthorized"}, 401)
    body = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    message = json.loads(body)
    events = message.get("events", [message])
    acks = []
    for event in events:
        if not event["event"] or not event["distinct_id"]:
            return JSONResponse({"error": "invalid"}, 400)
        key = event["idempotency_key"].encode()
        acks.append(await producer.send(TOPIC, json.dumps(event).encode(), key=key))
    await asyncio.gather(*acks)
    return JSONResponse({"ok": True, "accepted": len(events)})


async def live(request: Request) -> Response:
    return Response(b"ok\n")


app = Starlette(
    routes=[Route("/v1/analytics/{call}", take, methods=["POST"]), Route("/health/live", live)], lifespan=lifespan
)

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
