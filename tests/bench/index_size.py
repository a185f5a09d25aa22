"""One size of the index of event ids, in a process of its own so that its memory is its own: prints IndexFigures.

`python -m tests.bench.index_size IDS`: fills the index in blocks as the worker does, spread over the window, then asks
for blocks of which half is known.
"""

import os
import sys
import time

import msgspec
from msgspec import Struct

from services.worker.dedupe.id_index import IdIndex
from services.worker.dedupe.ids import ids_from_bytes
from tests.bench.processes import rss_bytes

BLOCK_IDS = 100_000
_WINDOW_S = 7 * 24 * 3600
_START_S = 1_800_000_000
_LOOKUP_BLOCKS = 20


class IndexFigures(Struct, kw_only=True):
    """`bytes_an_id` by the index's own account, `rss_bytes_an_id` by the process's; lookups in CPU time of one core."""

    ids: int
    bytes_an_id: float
    rss_bytes_an_id: float
    lookups_s: float
    adds_s: float
    longest_add_s: float


def measure(count: int) -> IndexFigures:
    before = rss_bytes(os.getpid())
    index, longest = IdIndex(_WINDOW_S), 0.0
    known: list[bytes] = []
    blocks = -(-count // BLOCK_IDS)
    size = min(BLOCK_IDS, count)
    adding = 0.0
    for block in range(blocks):
        packed = os.urandom(size * 16)
        if len(known) < _LOOKUP_BLOCKS and block % max(1, blocks // _LOOKUP_BLOCKS) == 0:
            known.append(packed[: len(packed) // 2])
        started = time.thread_time()
        index.add(ids_from_bytes(packed), _START_S + block * _WINDOW_S / blocks)
        spent = time.thread_time() - started
        adding, longest = adding + spent, max(longest, spent)
    rss = rss_bytes(os.getpid()) - before
    asking = found = 0.0
    for half in known:
        asked = ids_from_bytes(half + os.urandom(len(half)))
        started = time.thread_time()
        found += int(index.duplicates(asked).sum())
        asking += time.thread_time() - started
    asked_for = sum(len(half) for half in known) // 8
    if found != asked_for // 2:
        raise RuntimeError(f"{found} of {asked_for // 2} known ids were found")
    return IndexFigures(
        ids=blocks * size,
        bytes_an_id=index.size_bytes / (blocks * size),
        rss_bytes_an_id=rss / (blocks * size),
        lookups_s=asked_for / asking,
        adds_s=blocks * size / adding,
        longest_add_s=longest,
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure(int(sys.argv[1]))))
