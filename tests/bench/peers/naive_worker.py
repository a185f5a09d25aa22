"""The naive worker: a consumer loop, `json.loads` an event, a Python set of the keys seen, `client.insert` of rows."""

import asyncio
import json
import os
from typing import Any

from aiokafka import AIOKafkaConsumer

from tests.bench.peers.events_table import COLUMNS, connect, row_of

BLOCK_EVENTS = 16_000  # one block of the driver


async def main() -> None:
    client = connect()
    seen: set[str] = set()
    consumer = AIOKafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=os.environ["HEADRACE_KAFKA_BOOTSTRAP"],
        group_id=os.environ["HEADRACE_WORKER_GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with consumer:
        while True:
            rows: list[list[Any]] = []
            for records in (await consumer.getmany(timeout_ms=500, max_records=BLOCK_EVENTS)).values():
                for record in records:
                    event = json.loads(record.value)
                    if event["idempotency_key"] not in seen:
                        seen.add(event["idempotency_key"])
                        rows.append(row_of(event))
            if rows:
                await asyncio.to_thread(client.insert, "events", rows, COLUMNS)
                await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main())
