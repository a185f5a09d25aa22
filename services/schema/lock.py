"""One migration at a time: a table that can be made once is the lock. Whoever has it says every few seconds that it lives;
the lock of one that was killed is taken away."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.logs import get_logger

log = get_logger(__name__)
_TABLE = "schema_lock"
_EXISTS = 57
_UNKNOWN = 60
_ALIVE_EVERY_S = 5.0
# Longer than a statement that a server is too busy for.
STALE_S = 120
_LOOK_S = 0.5


@asynccontextmanager
async def migration_lock(store: ClickHouse, database: str, everywhere: str, engine: str) -> AsyncIterator[None]:
    """`everywhere`: ON CLUSTER ... or nothing; `engine`: of the lock's table. Waits for whoever has it. Raises StoreError."""
    owner = uuid.uuid4().hex
    table = f"{database}.{_TABLE}"
    await _take(store, database, everywhere, engine)
    living = asyncio.create_task(_live(store, table, owner))
    try:
        yield
    finally:
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        await store.command(f"DROP TABLE IF EXISTS {table} {everywhere} SYNC")


async def _take(store: ClickHouse, database: str, everywhere: str, engine: str) -> None:
    columns = "(owner String, at DateTime64(3, 'UTC') DEFAULT now64(3))"
    said = False
    while True:
        try:
            await store.command(
                f"CREATE TABLE {database}.{_TABLE} {everywhere} {columns} ENGINE = {engine} ORDER BY owner"
            )
        except StoreError as error:
            if error.code != _EXISTS and "already exists" not in str(error):
                raise
        else:
            return
        if not said:
            log.warning(
                "migration_waits", reason=f"another migration is under way, or was killed up to {STALE_S} s ago"
            )
            said = True
        if await _silent_s(store, database) > STALE_S:
            log.warning("migration_lock_taken_away")
            await store.command(f"DROP TABLE IF EXISTS {database}.{_TABLE} {everywhere} SYNC")
        else:
            await asyncio.sleep(_LOOK_S)


async def _silent_s(store: ClickHouse, database: str) -> float:
    """How long the lock's owner has said nothing; 0 when the lock has gone."""
    try:
        rows = await store.rows(
            "SELECT dateDiff('second', greatest((SELECT max(metadata_modification_time) FROM system.tables "
            f"WHERE database = {{database:String}} AND name = '{_TABLE}'), "
            f"toDateTime((SELECT max(at) FROM {database}.{_TABLE}))), now())",
            {"database": database},
        )
    except StoreError as error:
        if error.code == _UNKNOWN:
            return 0
        raise
    return float(rows[0][0])


async def _live(store: ClickHouse, table: str, owner: str) -> None:
    while True:
        await asyncio.sleep(_ALIVE_EVERY_S)
        try:
            await store.command(f"INSERT INTO {table} (owner) SELECT {{owner:String}}", {"owner": owner})
        except StoreError as error:
            log.warning("migration_lock_not_renewed", reason=str(error)[:500])
