"""Around the storing of blocks where traces are on: a span for each traced record, the child of the request's append."""

import time
from collections.abc import Awaitable, Callable

from services.contract.log.envelope import ID_BYTES
from services.runtime.traces import CONSUMER, Traces
from services.worker.record import Record

Store = Callable[[list[Record]], Awaitable[None]]
# Of one block.
_MAX_SPANS = 100


def traced_store(traces: Traces, name: str, store: Store) -> Store:
    """Spans begin when the block is taken, and end when it is stored: insert and commit of ids included."""

    async def store_and_trace(records: list[Record]) -> None:
        traced = [record for record in records if record.trace][:_MAX_SPANS]
        if not traced:
            await store(records)
            return
        now_s = time.time()
        spans = [
            traces.begin(
                name,
                CONSUMER,
                record.trace,
                messaging__destination__name=record.topic,
                messaging__destination__partition__id=str(record.partition),
                messaging__kafka__offset=record.offset,
                messaging__batch__message_count=len(record.ids or b"") // ID_BYTES,
                headrace__log_wait_seconds=max(0.0, now_s - record.sent_at_s),
                headrace__block_records=len(records),
            )
            for record in traced
        ]
        try:
            await store(records)
        finally:
            for span in spans:
                span.end()

    return store_and_trace
