"""A Kafka record as the worker reads it."""

from collections.abc import Callable

from msgspec import Struct


class Record(Struct, gc=False):
    """A Kafka record as it was read. `acknowledge` lets its offset be committed. `sent_at_s`: when it was written into
    the log, as Unix time; see dedupe/window.py. `trace`: of a request whose events are in it."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    ids: bytes | None
    acknowledge: Callable[[], object]
    sent_at_s: float = 0.0
    trace: bytes | None = None
