"""The data directory of a run: built once, kept, and served by ClickHouse. Says which cases it can stand for.

`bench` holds the history, its parts merged; `bench_fresh` the asked month as a live system has it before any merge.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from services.contract.tables import EVENTS, IDENTITY_LOG, PERSON_IDS
from services.devstack.clickhouse_server import ClickHouseProcess
from services.operations.properties import promote
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema.files import load_migrations
from services.schema.migrate import migrate
from services.schema.roles import Role
from tests.bench.query.history import MERGED_PERCENT, PROMOTED, SINCE, UNTIL, History
from tests.bench.query.sql_client import SqlClient

MERGED, FRESH = "bench", "bench_fresh"
FRESH_PARTS = 300
_BLOCK_EVENTS = 1_000_000
_START_TIMEOUT_S = 300

Say = Callable[[str], None]


class Built(Struct, frozen=True):
    """What a data directory was built from; another plan, or other migrations, and it is built again."""

    history: History
    migrations: list[str]
    seconds: float
    bytes_on_disk: int
    promoted: str = ""
    fresh_parts: int = FRESH_PARTS


class Data:
    """A served data directory. `client` sends plain SQL to it."""

    def __init__(self, directory: Path, history: History, server: ClickHouseProcess) -> None:
        self.directory = directory
        self.history = history
        self.server = server
        self.client = SqlClient(server.url, MERGED, (Role.ADMIN.value, server.password(Role.ADMIN)))

    def settings(self, database: str, role: Role = Role.QUERY) -> ClickHouseSettings:
        return ClickHouseSettings(
            clickhouse_url=self.server.url,
            clickhouse_database=database,
            clickhouse_user=role.value,
            clickhouse_password=self.server.password(role),
        )

    def merge_ids(self, database: str, ids: int, percent: int) -> None:
        """Replace the table of merged ids; `percent` of the ids up to `ids`."""
        table = f"{database}.{PERSON_IDS}"
        self.client.run(f"TRUNCATE TABLE {table}")
        if ids:
            self.client.run(self.history.insert_merges(table, ids, percent))
            self.client.run(f"OPTIMIZE TABLE {table} FINAL")

    def evict(self) -> None:
        """Drop what the engine and the operating system keep in memory of the files."""
        for cache in ("MARK", "UNCOMPRESSED", "PRIMARY INDEX"):
            self.client.run(f"SYSTEM DROP {cache} CACHE")
        for path in (self.directory / "engine").rglob("*.*"):
            if path.is_file():
                _evict_file(path)


@contextmanager
def open_data(directory: Path, history: History, say: Say, fresh_parts: int | None = None) -> Iterator[Data]:
    """Serve the directory, and build what is not there yet. `fresh_parts`: into how many the asked month is cut; None: it is
    not asked for, and stays as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    server = ClickHouseProcess(directory, databases=(MERGED, FRESH)).start(_START_TIMEOUT_S)
    try:
        data = Data(directory, history, server)
        marker = directory / "built.json"
        built = _read_built(marker, history)
        if built is None:
            marker.unlink(missing_ok=True)
            started = time.monotonic()
            _build(data, say)
            built = Built(history, _migrations(), time.monotonic() - started, _bytes_on_disk(data), PROMOTED, 0)
            marker.write_bytes(msgspec.json.encode(built))
        if fresh_parts is not None and built.fresh_parts != fresh_parts:
            marker.unlink(missing_ok=True)
            _build_fresh(data, fresh_parts, say)
            marker.write_bytes(msgspec.json.encode(replace(built, fresh_parts=fresh_parts)))
        yield data
    finally:
        server.stop()


def _read_built(marker: Path, history: History) -> Built | None:
    """What is there, if it is of this plan."""
    if not marker.exists():
        return None
    built = msgspec.json.decode(marker.read_bytes(), type=Built)
    is_this = built.history == history and built.migrations == _migrations() and built.promoted == PROMOTED
    return built if is_this else None


def _migrations() -> list[str]:
    return [migration.checksum for migration in load_migrations()]


def _build(data: Data, say: Say) -> None:
    for database in (MERGED, FRESH):
        data.client.run(f"DROP DATABASE IF EXISTS {database} SYNC", database="default")
        asyncio.run(_prepare(data.settings(database, Role.ADMIN)))
    history = data.history
    for first in range(0, history.events, _BLOCK_EVENTS):
        count = min(_BLOCK_EVENTS, history.events - first)
        data.client.run(history.insert_events(EVENTS, first, count), max_memory_usage=0)
        say(f"{first + count:,} of {history.events:,} events inserted")
    say("merging parts")
    for (partition,) in data.client.rows(
        f"SELECT DISTINCT partition FROM system.parts WHERE database = '{MERGED}' AND table = '{EVENTS}' AND active"
    ):
        data.client.run(f"OPTIMIZE TABLE {EVENTS} PARTITION {partition} FINAL")
    for database in (MERGED, FRESH):
        data.client.run(history.insert_groups(f"{database}.{IDENTITY_LOG}"), max_memory_usage=0)
    data.merge_ids(MERGED, history.ids, MERGED_PERCENT)
    data.merge_ids(FRESH, history.ids, MERGED_PERCENT)


async def _prepare(settings: ClickHouseSettings) -> None:
    await migrate(settings)
    store = await ClickHouse.connect(settings)
    try:
        await promote(store, settings.clickhouse_cluster, PROMOTED, new_only=True)
    finally:
        await store.close()


def _build_fresh(data: Data, parts: int, say: Say) -> None:
    """The asked month in parts as they arrived, none of which is ever merged."""
    data.client.run(f"TRUNCATE TABLE {FRESH}.{EVENTS}")
    data.client.run(f"ALTER TABLE {FRESH}.{EVENTS} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1")
    part = (UNTIL - SINCE) / parts
    for i in range(parts):
        begin, end = SINCE + i * part, SINCE + (i + 1) * part
        data.client.run(
            f"INSERT INTO {FRESH}.{EVENTS} SELECT * FROM {MERGED}.{EVENTS} "
            f"WHERE timestamp >= '{begin:%F %T.%f}' AND timestamp < '{end:%F %T.%f}'",
            max_threads=1,
            max_block_size=4_000_000,
            min_insert_block_size_rows=4_000_000,
            min_insert_block_size_bytes=0,
            max_memory_usage=0,
        )
    say(f"{parts} parts left unmerged")


def _bytes_on_disk(data: Data) -> int:
    rows = data.client.rows(
        f"SELECT sum(bytes_on_disk) FROM system.parts WHERE database = '{MERGED}' AND table = '{EVENTS}' AND active"
    )
    return int(rows[0][0])


def _evict_file(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # a part that ClickHouse has merged meanwhile
        return
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
