"""The limit of the edge in Python: decode with the contract's own types and write the canonical lines, nothing else.

No HTTP, no Kafka, no checks beyond the decoder's. `python -m tests.bench.limit SECONDS` prints microseconds of CPU an
event. The line's event id needs a hash of the key, so that is in it.
"""

import gzip
import sys
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

import msgspec
from xxhash import xxh3_128_hexdigest

from services.contract.api.ingest import Batch
from services.contract.log.envelope import EventLine
from services.contract.log.event_ids import project_prefix
from tests.bench.events import BatchRequests
from tests.bench.stack import PROJECT

_BODIES = 16
_EVENTS = 1000


def write_lines(body: bytes, now: datetime) -> bytes:
    prefix, hash_of = project_prefix(PROJECT), xxh3_128_hexdigest
    return _encode_lines(
        [
            EventLine(
                PROJECT,
                hash_of(prefix + (e.idempotency_key or "").encode()),
                e.event,
                e.distinct_id,
                e.timestamp,  # type: ignore[arg-type]
                now,
                e.properties,
                e.idempotency_key or "",
            )
            for e in _decode(body).events
        ]
    )


_decode = msgspec.json.Decoder(Batch).decode
_encode_lines = msgspec.json.Encoder().encode_lines


def cpu_us_an_event(work: Callable[[bytes], object], bodies: list[bytes], seconds: float) -> float:
    """The median of rounds over all bodies."""
    rounds: list[float] = []
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at or len(rounds) < 3:
        started = time.thread_time()
        for body in bodies:
            work(body)
        rounds.append((time.thread_time() - started) / len(bodies) / _EVENTS * 1e6)
    return median(rounds)


def main(seconds: float) -> dict[str, float]:
    source = BatchRequests("", _EVENTS, _BODIES)
    plain = [source.next().partition(b"\r\n\r\n")[2] for _ in range(_BODIES)]
    packed = [gzip.compress(body, 6) for body in plain]
    now = datetime.now(UTC)
    return {
        "decode": cpu_us_an_event(_decode, plain, seconds),
        "plain": cpu_us_an_event(lambda body: write_lines(body, now), plain, seconds),
        "gzip": cpu_us_an_event(lambda body: write_lines(zlib.decompress(body, 31), now), packed, seconds),
        "event_bytes": sum(map(len, plain)) / len(plain) / _EVENTS,
        "packed_bytes": sum(map(len, packed)) / len(packed) / _EVENTS,
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(main(float(sys.argv[1]))))
