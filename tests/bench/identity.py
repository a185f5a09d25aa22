"""What merging many ids into one set costs: `python -m tests.bench.identity --ids 100000 --block 1000 --shape chain`.

For each tenth of the merges: seconds, CPU seconds of this process and the engine, rows written to person_ids, rows of answers.
"""

import argparse
import asyncio
import itertools
import random
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from msgspec import Struct

from services.contract.links import Link, counting
from services.contract.log.envelope import IdentityLine
from services.contract.tables import PERSON_IDS
from services.devstack.clickhouse_server import ClickHouseProcess
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate
from services.schema.roles import Role
from services.worker.identity.person_sets import canonical_ids
from services.worker.identity.writer import IdentityStore
from tests.fakes.counting_store import CountingStore

_AT = datetime(2026, 11, 20, tzinfo=UTC)
SHAPES = ("star", "star outwards", "chain", "chain backwards", "cycle", "random")
Edge = tuple[str, str]
_START_S = 300  # on a busy machine


class Plan(Struct, frozen=True):
    """`kind`: alias (merges) or link."""

    shape: str
    ids: int
    block: int
    before: int
    kind: str


def edges_of(shape: str, ids: int) -> list[Edge]:
    """(old id, new id), in the order of arrival."""
    names = [f"id-{i:07d}" for i in range(ids)]
    if shape == "star":
        return [(name, "user") for name in names]
    if shape == "star outwards":
        return [("user", name) for name in names]
    if shape == "random":
        rng = random.Random(1)
        edges = [(names[i], names[rng.randrange(i)]) for i in range(1, ids)]
        rng.shuffle(edges)
        return edges
    chain = list(itertools.pairwise([*names, names[0]] if shape == "cycle" else names))
    return chain[::-1] if shape == "chain backwards" else chain


def lines_of(project: str, edges: Iterable[Edge], kind: str) -> list[IdentityLine]:
    return [
        IdentityLine(
            project_id=project,
            event_id=uuid.uuid4().hex,
            kind=kind,
            distinct_id=new_id,
            timestamp=_AT + timedelta(microseconds=i),
            received_at=_AT + timedelta(microseconds=i),
            old_id=old_id,
        )
        for i, (old_id, new_id) in enumerate(edges)
    ]


async def measure(settings: ClickHouseSettings, engine: int, plan: Plan) -> None:
    await migrate(settings)
    shape, block, before = plan.shape, plan.block, plan.before
    store, lines = CountingStore(settings), lines_of("bench", edges_of(shape, plan.ids), plan.kind)
    for each in _blocks(lines[:before], 1000):
        await IdentityStore(store).keep_lines(each)
    blocks = _blocks(lines[before:], block)
    tenth = max(1, len(blocks) // 10)
    for first in range(0, len(blocks), tenth):
        part = blocks[first : first + tenth]
        store.written = store.read = 0
        began, ours, engines = time.monotonic(), _cpu_s(), _cpu_s(engine)
        for each in part:
            await IdentityStore(store).keep_lines(each)
        print(
            f"{shape:16} merges {min(len(lines), before + (first + len(part)) * block):7d}  s {time.monotonic() - began:7.2f}  "
            f"cpu {_cpu_s() - ours:6.2f} + {_cpu_s(engine) - engines:7.2f}  rows written {store.written:8d}  "
            f"read {store.read:8d}",
            flush=True,
        )
    await _check(store, counted(edges_of(shape, plan.ids), plan.kind))
    if plan.kind == "link" and shape == "star":
        await _late(store, engine)
    await store.close()


def counted(edges: list[Edge], kind: str) -> list[Edge]:
    """Those that join."""
    if kind == "alias":
        return edges
    return [(link.prior, link.user) for link in counting(Link((i, 0, 0), *edge) for i, edge in enumerate(edges))]


async def _late(store: CountingStore, engine: int) -> None:
    """A link that was said before all others takes a device out of the star's set."""
    (line,) = lines_of("bench", [("id-0000000", "somebody else")], "link")
    line.timestamp -= timedelta(days=1)
    store.written, began, ours, engines = 0, time.monotonic(), _cpu_s(), _cpu_s(engine)
    await IdentityStore(store).keep_lines([line])
    print(
        f"a late link: s {time.monotonic() - began:.2f}  cpu {_cpu_s() - ours:.2f} + {_cpu_s(engine) - engines:.2f}  "
        f"rows written {store.written}"
    )


async def _check(store: ClickHouse, edges: list[Edge]) -> None:
    """Everybody is who the merges say, whatever it cost."""
    sql = f"SELECT distinct_id, person_id, name FROM {PERSON_IDS} FINAL WHERE project_id = 'bench'"
    rows = await store.rows(sql)
    names = {row[0]: row[2] for row in rows if row[2]}
    if {row[0]: names[row[1]] for row in rows} != canonical_ids(edges):
        raise RuntimeError("the people are not those of the merges")


def _cpu_s(pid: int | None = None) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _blocks(lines: list[IdentityLine], size: int) -> list[Sequence[IdentityLine]]:
    return [lines[at : at + size] for at in range(0, len(lines), size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=100_000)
    parser.add_argument("--block", type=int, default=1000, help="merges that are stored together")
    parser.add_argument(
        "--before", type=int, default=0, help="merges that are stored first, in blocks of 1000, unmeasured"
    )
    parser.add_argument("--kind", choices=("alias", "link"), default="alias", help="what joins: merges or links")
    parser.add_argument("--shape", choices=SHAPES, action="append")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        shapes = arguments.shape or SHAPES
        databases = [f"identity_{number}" for number in range(len(shapes))]
        server = ClickHouseProcess(Path(directory), databases=databases)
        try:
            server.start(_START_S)
            for database, shape in zip(databases, shapes, strict=True):
                settings = ClickHouseSettings(
                    clickhouse_url=server.url,
                    clickhouse_database=database,
                    clickhouse_user=Role.ADMIN.value,
                    clickhouse_password=server.password(Role.ADMIN),
                )
                plan = Plan(shape, arguments.ids, arguments.block, arguments.before, arguments.kind)
                asyncio.run(measure(settings, server.pid, plan))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
