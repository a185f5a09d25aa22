"""Fills an events topic: by the edge itself with batches, or with records as the edge makes them of single events."""

import asyncio
import random
from datetime import UTC, datetime

from services.contract.log.envelope import EventLine, pack
from services.contract.log.topics import Partitioning
from services.edge.intake.second_pass import take_batch
from services.runtime.kafka import make_producer
from tests.bench.events import BatchRequests
from tests.bench.load import LoadPlan
from tests.bench.loading import RunningLoad
from tests.bench.stack import PROJECT, Pipeline
from tests.bench.topic import count_topic

_BATCH = 1000
_IN_FLIGHT = 2000


def fill_by_edge(pipeline: Pipeline, events: int, *, templates: int = 100) -> int:
    """Send batches through an edge until so many events are acknowledged; the number that is."""
    port = pipeline.start_edge(name="filling_edge")
    load = LoadPlan(
        port=port,
        path="/v1/analytics/batch",
        key=pipeline.key,
        events=_BATCH,
        requests=-(-events // _BATCH),
        templates=templates,
    )
    with RunningLoad(load, set(pipeline.stack.cores)) as running:
        accepted = running.wait(600).events
    pipeline.stop("filling_edge")
    return accepted


def sizes_of_single_records(pipeline: Pipeline, seconds: float, connections: int) -> list[int]:
    """The numbers of events in the records that an edge makes of single events over so many connections."""
    port = pipeline.start_edge(name="filling_edge", cores={pipeline.stack.cores[0]})
    load = LoadPlan(
        port=port,
        path="/v1/analytics/track",
        key=pipeline.key,
        events=0,
        connections=connections,
        seconds=seconds,
    )
    with RunningLoad(load, {pipeline.stack.cores[1]}) as running:
        running.wait(60)
    pipeline.stop("filling_edge")
    count = asyncio.run(count_topic(pipeline.kafka.kafka_bootstrap, pipeline.events_topic, pipeline.partitions))
    return count.record_events


def fill_with_records(pipeline: Pipeline, events: int, sizes: list[int]) -> int:
    """Write so many events in records whose sizes are drawn from `sizes`; the number of events written."""
    return asyncio.run(_fill(pipeline, events, sizes))


async def _fill(pipeline: Pipeline, events: int, sizes: list[int]) -> int:
    source, rng = BatchRequests("", _BATCH, 50), random.Random(4)
    producer = make_producer(pipeline.kafka, timeout_s=60)
    await producer.start()
    waiting: list[list[tuple[bytes, EventLine]]] = [[] for _ in range(pipeline.partitions)]
    wanted = [rng.choice(sizes) for _ in waiting]
    acks: list[asyncio.Future[object]] = []
    written = 0
    try:
        while written < events:
            intake = take_batch(source.next().partition(b"\r\n\r\n")[2], PROJECT, datetime.now(UTC))
            for event_id, line in zip(intake.ids, intake.lines, strict=True):
                partition = Partitioning(pipeline.partitions).partition_of(event_id)
                gathering = waiting[partition]
                gathering.append((event_id, line))
                if len(gathering) < wanted[partition]:
                    continue
                envelope = pack([i for i, _ in gathering], [line for _, line in gathering])
                acks.append(
                    await producer.send(
                        pipeline.events_topic, envelope.lines, partition=partition, headers=envelope.headers()
                    )
                )
                written += len(gathering)
                gathering.clear()
                wanted[partition] = rng.choice(sizes)
            if len(acks) > _IN_FLIGHT:
                await asyncio.gather(*acks)
                acks.clear()
        await asyncio.gather(*acks)
    finally:
        await producer.stop()
    return written
