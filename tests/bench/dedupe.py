"""The index of event ids: memory, lookups and how long it takes to fill it from ClickHouse.

`python -m tests.bench.dedupe [--ids N]... [--stored N] [--history N]`

And what the mode `clickhouse`, which has no index, asks for each block: `--asked N` blocks. Rows of the events table are made
by ClickHouse: as narrow as events can be, with no properties. What is read of them are id and receipt.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from typing import Annotated

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from services.contract.log.topics import Partitioning
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import WorkerSettings
from services.worker.dedupe.clickhouse import ClickHouseDedupe
from services.worker.dedupe.ids import ids_from_rows
from services.worker.dedupe.memory import MemoryDedupe
from tests.bench.index_size import IndexFigures
from tests.bench.processes import pin, two_cores
from tests.bench.stack import Pipeline, Stack

SIZES = (1_000_000, 10_000_000, 50_000_000)
STORED_IDS = 10_000_000
PARTITIONS = 8
_WINDOW_S = 7 * 24 * 3600
_STEP_ROWS = 1_000_000
_TIMEOUT_S = 900
# Random ids, received evenly over the window; the last second of it would be outside by the time of the reading.
_INSERT = """
    INSERT INTO events (project_id, event_id, event, distinct_id, timestamp, received_at, properties)
    SELECT 'bench', generateUUIDv4(), 'page_viewed', concat('user_', toString(number % 200000)), now64(6),
        now64(6) - toIntervalSecond(60 + (number * 7919) % (%(window)d - 3600)), '{}'
    FROM numbers(%(rows)d)
"""

# History before the window, over three months; one row in a hundred says that it is of up to 30 days before.
_INSERT_OLD = """
    INSERT INTO events (project_id, event_id, event, distinct_id, timestamp, received_at, properties)
    SELECT 'bench', generateUUIDv4(), 'page_viewed', concat('user_', toString(number % 200000)),
        received - toIntervalSecond(if(number % 100 = 0, number % 2592000, 1)), received, '{}'
    FROM (SELECT number, now64(6) - toIntervalSecond(%(window)d + 86400 + (number * 7919) % 7776000) AS received
        FROM numbers(%(rows)d))
"""


class AskFigures(Struct, kw_only=True):
    """Of blocks of new ids, whether they are stored."""

    block: int
    seconds: list[float]

    @property
    def events_s(self) -> float:
        """So much a worker can store where asking is all that it waits for."""
        return self.block / statistics.median(self.seconds)


class LoadFigures(Struct, kw_only=True):
    """From the assignment of a partition to its first event: reading its ids."""

    ids: int
    of: int
    seconds: float


def measure_index(ids: int, core: int) -> IndexFigures:
    """In a process of its own on one core."""
    command = [sys.executable, "-m", "tests.bench.index_size", str(ids)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603
    try:
        pin(process.pid, {core})
        out, _ = process.communicate(timeout=_TIMEOUT_S)
    finally:
        process.kill()
    return msgspec.json.decode(out, type=IndexFigures)


def measure_load(pipeline: Pipeline, stored: int, history: int) -> list[LoadFigures]:
    """Put so many random ids of the window into the events table, beside a history of other rows; then read one
    partition of 8, and all of them as one."""
    for statement, rows in ((_INSERT_OLD, history), (_INSERT, stored)):
        for at in range(0, rows, _STEP_ROWS):
            pipeline.sql(
                statement.replace("%(window)d", str(_WINDOW_S)).replace("%(rows)d", str(min(_STEP_ROWS, rows - at)))
            )
    if pipeline.stored_rows() != stored + history:
        raise RuntimeError(f"{pipeline.stored_rows()} of {stored + history} rows were stored")
    return [asyncio.run(_load(pipeline, partitions, stored)) for partitions in (PARTITIONS, 1)]


async def _load(pipeline: Pipeline, partitions: int, stored: int) -> LoadFigures:
    store = await ClickHouse.connect(pipeline.clickhouse)
    try:
        ids = MemoryDedupe(store, _WINDOW_S, Partitioning(partitions))
        started = time.monotonic()
        await ids.load(dict.fromkeys({0}, time.time()))
        seconds = time.monotonic() - started
    finally:
        await store.close()
    found = len(ids.index)
    if partitions == 1 and found != stored:
        raise RuntimeError(f"{found} of {stored} ids were read")
    return LoadFigures(ids=found, of=stored, seconds=seconds)


async def _ask(pipeline: Pipeline, blocks: int) -> AskFigures:
    """As a worker does: one block after the other, each of the default size."""
    size = WorkerSettings().worker_block_events
    store = await ClickHouse.connect(pipeline.clickhouse)
    seconds = []
    try:
        dedupe = ClickHouseDedupe(store, _WINDOW_S)
        await dedupe.load({0: time.time()})
        for _ in range(blocks):
            ids = ids_from_rows(os.urandom(16 * size))
            started = time.monotonic()
            found = await dedupe.duplicates(ids)
            seconds.append(time.monotonic() - started)
            if found.any():
                raise RuntimeError("a random id is stored")
    finally:
        await store.close()
    return AskFigures(block=size, seconds=seconds)


def main(
    ids: Annotated[list[int], typer.Option(help="Sizes of the index; may be given several times.")] = list(SIZES),  # noqa: B006
    stored: Annotated[
        int, typer.Option(help="Ids in ClickHouse for the time to fill; 0 leaves that out.")
    ] = STORED_IDS,
    history: Annotated[int, typer.Option(help="Rows from before the window beside them.")] = 0,
    asked: Annotated[int, typer.Option(help="Blocks of the mode `clickhouse`; 0 leaves that out.")] = 0,
) -> None:
    """Measure the index of event ids."""
    out = Console()
    table = Table(
        "ids", "bytes an id", "resident bytes an id", "lookups/s", "adds/s", "longest add s", title="Index, one core"
    )
    for size in ids:
        index = measure_index(size, two_cores()[0])
        table.add_row(
            f"{index.ids:,}",
            f"{index.bytes_an_id:.1f}",
            f"{index.rss_bytes_an_id:.1f}",
            f"{index.lookups_s:,.0f}",
            f"{index.adds_s:,.0f}",
            f"{index.longest_add_s:.2f}",
        )
    out.print(table)
    if stored:
        with Stack() as stack, stack.pipeline("ids") as pipeline:
            for load in measure_load(pipeline, stored, history):
                share = f"{load.ids:,} ids of one partition, of {load.of:,} in ClickHouse"
                out.print(f"from assignment to the first event: {load.seconds:.2f} s ({share})", highlight=False)
            if asked:
                f = asyncio.run(_ask(pipeline, asked))
                took = f"{statistics.median(f.seconds):.2f} s a block of {f.block:,}, {max(f.seconds):.2f} at most"
                out.print(f"mode clickhouse: {f.events_s:,.0f} events/s at most ({took})", highlight=False)


if __name__ == "__main__":
    typer.run(main)
