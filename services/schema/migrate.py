"""Applies the numbered SQL files of `migrations/`, each once, in order. Files that were applied must not change.

What they become on a cluster: `files.py`, `layout.py`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.contract.log.topics import BUCKETS, NO_BUCKETS
from services.contract.tables import EVENTS, PARTITIONING, SCHEMA_MIGRATIONS
from services.runtime.clickhouse import MAX_TIMEOUT_MULTIPLIER, ClickHouse, timeout_multiplier
from services.runtime.cluster import on_cluster
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import ClickHouseSettings
from services.schema.files import Migration, load_migrations, whole_table_engine
from services.schema.layout import adopt_tables, fill_nodes, move_rows, show_sharded, steps_to_make, tables_to_move
from services.schema.lock import migration_lock
from services.schema.topology import refuse_tables_of_cluster, refuse_topology


class MigrationError(OperatorError):
    """The database and the files do not agree; the message says what to do."""


async def migrate(settings: ClickHouseSettings) -> list[str]:
    """Bring the database up to date; the names of the files that were applied.

    Safe to repeat, and to run from several places at once: one waits for the other. A statement may take as long as a
    cluster needs. Raises MigrationError when an applied file has changed, TopologyError, StoreError when ClickHouse refuses.
    """
    migrations = load_migrations(settings.clickhouse_cluster)
    async with _connected(settings) as store:
        pending = await _pending(store, settings, migrations)
        if pending or settings.clickhouse_cluster:
            pending = await _apply_pending(store, settings, migrations)
        await _keep_spread(store, settings)
        return [m.name for m in pending]


async def steps_ahead(settings: ClickHouseSettings) -> list[str]:
    """What `migrate` would do, in words after "would"; nothing is changed. Raises as it does."""
    migrations = load_migrations(settings.clickhouse_cluster)
    async with _connected(settings) as store:
        pending = await _pending(store, settings, migrations)
        moved, is_of_one_server = list[str](), False
        if settings.clickhouse_cluster:
            moved, is_of_one_server = await tables_to_move(store, settings)
        if is_of_one_server:
            # The cluster's tables are made of them all.
            pending = migrations
        steps = [f"apply {m.name}" for m in pending]
        if moved:
            steps.append(f"move the rows of one server to the cluster: {', '.join(moved)}")
        elif settings.clickhouse_cluster and not pending:
            steps += await steps_to_make(store, settings)
        return steps


@asynccontextmanager
async def _connected(settings: ClickHouseSettings) -> AsyncIterator[ClickHouse]:
    """With all the time that a statement may take. Raises TopologyError, StoreError."""
    store = await ClickHouse.connect(settings, database="default")
    usual = timeout_multiplier.set(MAX_TIMEOUT_MULTIPLIER)
    try:
        if settings.clickhouse_cluster:
            await refuse_topology(store, settings)
        else:
            await refuse_tables_of_cluster(store, settings)
        yield store
    finally:
        timeout_multiplier.reset(usual)
        await store.close()


async def _pending(store: ClickHouse, settings: ClickHouseSettings, migrations: list[Migration]) -> list[Migration]:
    applied = await _applied(store, settings)
    _check_unchanged(migrations, applied)
    return [m for m in migrations if m.name not in applied]


async def _apply_pending(
    store: ClickHouse, settings: ClickHouseSettings, migrations: list[Migration]
) -> list[Migration]:
    """Those that nobody else has applied meanwhile."""
    cluster = settings.clickhouse_cluster
    database, engine = settings.clickhouse_database, whole_table_engine(cluster)
    await store.command(f"CREATE DATABASE IF NOT EXISTS {database} {on_cluster(cluster)}")
    async with migration_lock(store, database, on_cluster(cluster), engine):
        if cluster:
            await adopt_tables(store, settings)
        await _prepare(store, settings)
        pending = await _pending(store, settings, migrations)
        for migration in pending:
            await _apply(store, settings, migration)
        if cluster:
            await show_sharded(store, settings)
            await fill_nodes(store, settings)
            await move_rows(store, settings)
    return pending


async def _keep_spread(store: ClickHouse, settings: ClickHouseSettings) -> None:
    """An installation that has events goes on spreading ids as it did; a new one has buckets. Written once."""
    database = settings.clickhouse_database
    await store.command(
        f"INSERT INTO {database}.{PARTITIONING} (buckets, partitions) "
        f"SELECT if((SELECT count() FROM {database}.{EVENTS}) > 0, {NO_BUCKETS}, {BUCKETS}), 0 "
        f"WHERE (SELECT count() FROM {database}.{PARTITIONING}) = 0"
    )


async def _applied(store: ClickHouse, settings: ClickHouseSettings) -> dict[str, str]:
    there = await store.rows(
        f"SELECT 1 FROM system.tables WHERE database = {{database:String}} AND name = '{SCHEMA_MIGRATIONS}'",
        {"database": settings.clickhouse_database},
    )
    if not there:
        return {}
    rows = await store.rows(f"SELECT name, checksum FROM {settings.clickhouse_database}.{SCHEMA_MIGRATIONS}")
    return {row[0]: row[1] for row in rows}


def _check_unchanged(migrations: list[Migration], applied: dict[str, str]) -> None:
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationError(
                f"{migration.name} was applied and has changed since. Put the file back and add a new one instead."
            )
    unknown = sorted(set(applied) - {m.name for m in migrations})
    if unknown:
        raise MigrationError(f"The database is newer than this program: it has {', '.join(unknown)}. Upgrade Headrace.")


async def _prepare(store: ClickHouse, settings: ClickHouseSettings) -> None:
    database, everywhere = settings.clickhouse_database, on_cluster(settings.clickhouse_cluster)
    engine = whole_table_engine(settings.clickhouse_cluster)
    await store.command(
        f"CREATE TABLE IF NOT EXISTS {database}.{SCHEMA_MIGRATIONS} {everywhere} "
        "(name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) "
        f"ENGINE = {engine} ORDER BY name"
    )


async def _apply(store: ClickHouse, settings: ClickHouseSettings, migration: Migration) -> None:
    target = await ClickHouse.connect(settings)
    try:
        for statement in migration.statements:
            await target.command(statement)
    finally:
        await target.close()
    await store.command(
        f"INSERT INTO {settings.clickhouse_database}.{SCHEMA_MIGRATIONS} (name, checksum) "
        "VALUES ({name:String}, {checksum:String})",
        {"name": migration.name, "checksum": migration.checksum},
    )
