"""The e-commerce clickstream (data/README.md) as track events: real input for the demonstration and the tests."""

import csv
import gzip
from collections.abc import Iterator
from importlib import resources
from typing import Any

EVENT_COUNT = 31_106
_PROPERTIES = ("session_id", "platform", "acquisition_channel", "user_cohort", "user_lifecycle")


def clickstream() -> Iterator[dict[str, Any]]:
    """Each row as a track event. The idempotency key is the row's number: sent twice, it is stored once."""
    data = resources.files("services.devstack") / "data" / "ecom.csv.gz"
    with data.open("rb") as packed, gzip.open(packed, "rt", encoding="utf-8", newline="") as text:
        for number, row in enumerate(csv.DictReader(text)):
            yield {
                "event": row["event"],
                "distinct_id": row["user_id"],
                "timestamp": row["timestamp"].replace(" ", "T") + "Z",
                "idempotency_key": f"ecom-{number}",
                "properties": {name: row[name] for name in _PROPERTIES},
            }


def batches(size: int = 1000) -> Iterator[list[dict[str, Any]]]:
    """The clickstream in batches as POST /batch takes them."""
    batch: list[dict[str, Any]] = []
    for event in clickstream():
        batch.append(event)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
