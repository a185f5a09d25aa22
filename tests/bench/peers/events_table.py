"""How the peers write an event into the events table: Python rows by the driver's own `insert`."""

import json
import os
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

COLUMNS = (
    "project_id",
    "event_id",
    "event",
    "distinct_id",
    "timestamp",
    "received_at",
    "properties",
    "idempotency_key",
)


def connect() -> Client:
    url = urlsplit(os.environ["HEADRACE_CLICKHOUSE_URL"])
    return clickhouse_connect.get_client(
        host=url.hostname or "127.0.0.1",
        port=url.port or 8123,
        username=os.environ["HEADRACE_CLICKHOUSE_USER"],
        password=os.environ["HEADRACE_CLICKHOUSE_PASSWORD"],
        database=os.environ["HEADRACE_CLICKHOUSE_DATABASE"],
    )


def row_of(event: dict[str, Any]) -> list[Any]:
    key = event["idempotency_key"]
    return [
        "bench",
        uuid.UUID(key),
        event["event"],
        event["distinct_id"],
        datetime.fromisoformat(event["timestamp"]),
        datetime.now(UTC),
        json.dumps(event["properties"]),
        key,
    ]
