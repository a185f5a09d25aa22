"""Quix Streams, as its documentation has it: a stateful filter with a time to live against repeats, a custom batching
sink, checkpoints by number and time. Records are keyed by idempotency key, since state belongs to a key.
"""

import os
from datetime import timedelta
from typing import Any

from quixstreams import Application
from quixstreams.sinks.base import BatchingSink, SinkBatch
from quixstreams.state import State

from tests.bench.peers.events_table import COLUMNS, connect, row_of

WINDOW = timedelta(days=7)
# A block for an insert that ClickHouse likes; the documentation's own advice is to set both.
COMMIT_EVERY = 16_000
COMMIT_INTERVAL_S = 1.0


class EventWriter(BatchingSink):  # type: ignore[misc]
    """A checkpoint's events go in one insert a partition."""

    def setup(self) -> None:
        self._client = connect()

    def write(self, batch: SinkBatch) -> None:
        self._client.insert("events", [row_of(item.value) for item in batch], COLUMNS)


def is_new(event: dict[str, Any], key: Any, timestamp: int, headers: Any, state: State) -> bool:
    if state.get("seen"):
        return False
    state.set("seen", True, ttl=WINDOW)
    return True


def main() -> None:
    app = Application(
        broker_address=os.environ["HEADRACE_KAFKA_BOOTSTRAP"],
        consumer_group=os.environ["HEADRACE_WORKER_GROUP"],
        auto_offset_reset="earliest",
        commit_every=COMMIT_EVERY,
        commit_interval=COMMIT_INTERVAL_S,
        state_dir=os.environ["BENCH_STATE_DIR"],
        loglevel="WARNING",
    )
    events = app.topic(os.environ["BENCH_TOPIC"], value_deserializer="json", key_deserializer="bytes")
    stream = app.dataframe(events).filter(is_new, stateful=True, metadata=True)
    stream.sink(EventWriter())
    app.run()


if __name__ == "__main__":
    main()
