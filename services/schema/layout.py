"""How the tables lie on a cluster: the sharded ones behind a Distributed table of their name, on each shard `..._local`.

What was made before there was a cluster, or before it was sharded, is taken over: services must be stopped meanwhile.

one server       `events` -> `events_moving`, rows into the new tables, month by month -> `events_moved`: the operator drops it
one shard, as    `events` -> `events_local`: the rows stay where they are
versions before
several shards   refused: each has its own merges and dashboards, and nobody can say which of them count
"""

import re
from typing import Any

from services.contract.tables import SHARDED, WHOLE
from services.runtime.clickhouse import ClickHouse
from services.runtime.cluster import on_cluster, own_table
from services.runtime.logs import get_logger
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import ClickHouseSettings
from services.schema.topology import MOVING, Topology, distributed_engine, read_topology

log = get_logger(__name__)
_MOVED = "_moved"
_PLAIN, _REPLICATED = "ReplacingMergeTree", "ReplicatedReplacingMergeTree"
_HEAD, _UUID = re.compile(r"CREATE TABLE "), re.compile(r"UUID '[0-9a-f-]{36}'")
# Made by a migration for itself.
_NOT_MOVED = ("schema_migrations",)


class LayoutError(OperatorError):
    """The tables that are there cannot be taken over; the message says what to do."""


async def tables_to_move(store: ClickHouse, settings: ClickHouseSettings) -> tuple[list[str], bool]:
    """Those of one server whose rows are not in the cluster's tables yet, put aside or not; and whether the cluster has no
    tables of its own yet. Raises StoreError."""
    engines = await _engines(store, settings.clickhouse_database)
    aside, in_place = [t.removesuffix(MOVING) for t in engines if t.endswith(MOVING)], _of_one_server(engines)
    return [table for table in (*WHOLE, *SHARDED) if table in {*aside, *in_place}], bool(in_place)


async def steps_to_make(store: ClickHouse, settings: ClickHouseSettings) -> list[str]:
    """What tables of a cluster, to which all migrations were applied, would become, in words after "would". Raises LayoutError,
    StoreError."""
    cluster, database = settings.clickhouse_cluster, settings.clickhouse_database
    topology, engines = await read_topology(store, cluster, database), await _engines(store, database)
    steps = []
    for table in SHARDED:
        own = own_table(table, cluster)
        if _is_of_one_shard(engines, table, own):
            await _refuse_several_shards(store, cluster)
            return [f"call the table {table} {own}, and show it as {table} on all servers"]
    await _refuse_missing(store, topology)
    for table, column in SHARDED.items():
        if await _is_shown_otherwise(store, topology, table, distributed_engine(cluster, database, table, column)):
            steps.append(f"replace the table {table} by one that shows all shards")
    for node in topology.nodes:
        if missing := [table for table in _wanted(cluster) if table not in node.engines]:
            steps.append(f"make tables on {node.replica.name}: {', '.join(missing)}")
    return steps


async def show_sharded(store: ClickHouse, settings: ClickHouseSettings) -> None:
    """One table for all shards, with the columns that they have, the same on every node. Raises StoreError."""
    cluster, database = settings.clickhouse_cluster, settings.clickhouse_database
    topology = await read_topology(store, cluster, database)
    await _refuse_missing(store, topology)
    for table, column in SHARDED.items():
        own, engine = own_table(table, cluster), distributed_engine(cluster, database, table, column)
        if await _is_shown_otherwise(store, topology, table, engine):
            await store.command(
                f"CREATE OR REPLACE TABLE {database}.{table} {on_cluster(cluster)} AS {database}.{own} ENGINE = {engine}"
            )


async def _is_shown_otherwise(store: ClickHouse, topology: Topology, table: str, engine: str) -> bool:
    own, database = own_table(table, topology.cluster), topology.database
    if any(not node.engines.get(table, engine).startswith(engine) for node in topology.nodes):
        return True
    return await _columns(store, database, table) != await _columns(store, database, own)


async def fill_nodes(store: ClickHouse, settings: ClickHouseSettings) -> None:
    """Make the tables on nodes that have come since they were made: as they are here, and with the same UUID, which is part
    of the path by which replicas find each other. Raises StoreError."""
    cluster, database = settings.clickhouse_cluster, settings.clickhouse_database
    topology = await read_topology(store, cluster, database)
    for table in [table for table in _wanted(cluster) if any(table not in node.engines for node in topology.nodes)]:
        ((definition,),) = await store.rows(
            f"SHOW CREATE TABLE {database}.{table}", settings={"show_table_uuid_in_table_create_query_if_not_nil": 1}
        )
        head, uuid = _HEAD.match(definition), _UUID.search(definition)
        if head is None or uuid is None:
            raise LayoutError(f"{table} is not on every node: make it by hand, as SHOW CREATE TABLE has it")
        everywhere = f"CREATE TABLE IF NOT EXISTS {database}.{table} {uuid[0]} {on_cluster(cluster)}"
        await store.command(everywhere + definition[uuid.end() :])
        log.info("table_made_on_new_nodes", table=table)


def _wanted(cluster: str) -> list[str]:
    """On every node."""
    return [*WHOLE, *[own_table(table, cluster) for table in SHARDED], *SHARDED]


async def _refuse_missing(store: ClickHouse, topology: Topology) -> None:
    """All migrations were applied, and tables are made on other nodes as they are here. Raises LayoutError."""
    here = await _engines(store, topology.database)
    for table in (*WHOLE, *[own_table(table, topology.cluster) for table in SHARDED]):
        if table in here:
            continue
        there = [node.replica.name for node in topology.nodes if table in node.engines]
        if there:
            mend = f"run `headrace migrate` with HEADRACE_CLICKHOUSE_URL of {there[0]}, which has it"
        else:
            mend = "no other server has it: restore it from a backup (docs/how-to/back-up-and-restore.md)"
        raise LayoutError(f"The table {table} was made, and is not on the server that was asked: {mend}")


async def adopt_tables(store: ClickHouse, settings: ClickHouseSettings) -> None:
    """Make room for the tables of a cluster, where others have their names. Raises LayoutError, StoreError."""
    cluster, database = settings.clickhouse_cluster, settings.clickhouse_database
    engines = await _engines(store, database)
    for table in SHARDED:
        own = own_table(table, cluster)
        if _is_of_one_shard(engines, table, own):
            await _refuse_several_shards(store, cluster)
            await store.command(f"RENAME TABLE {database}.{table} TO {database}.{own} {on_cluster(cluster)}")
            log.info("table_sharded", table=table)
    for table in _of_one_server(engines):
        await store.command(f"RENAME TABLE {database}.{table} TO {database}.{table}{MOVING}")
        log.info("table_put_aside", table=table, name=f"{table}{MOVING}")


def _is_of_one_shard(engines: dict[str, str], table: str, own: str) -> bool:
    return engines.get(table) == _REPLICATED and own not in engines


def _of_one_server(engines: dict[str, str]) -> list[str]:
    """The sharded ones last: by them it is seen that putting them aside has not come to its end. Those that an earlier run has
    put aside stay where they are, and so does what is not ours."""
    if not any(engines.get(table) == _PLAIN for table in SHARDED):
        return []
    return [table for table in (*WHOLE, *SHARDED) if engines.get(table) == _PLAIN]


async def move_rows(store: ClickHouse, settings: ClickHouseSettings) -> None:
    """Of the tables that were put aside. May be repeated: rows that have come already collapse. Raises StoreError."""
    database = settings.clickhouse_database
    for moving in [table for table in await _engines(store, database) if table.endswith(MOVING)]:
        table = moving.removesuffix(MOVING)
        if table not in _NOT_MOVED:
            await _copy(store, database, moving, table)
        await store.command(f"RENAME TABLE {database}.{moving} TO {database}.{table}{_MOVED}")
        log.info("table_moved", table=table, drop_when_all_is_well=f"{table}{_MOVED}")


async def _copy(store: ClickHouse, database: str, moving: str, table: str) -> None:
    given = {"database": database, "table": moving}
    columns = ", ".join(
        name
        for (name,) in await store.rows(
            "SELECT name FROM system.columns WHERE database = {database:String} AND table = {table:String} "
            "AND default_kind IN ('', 'DEFAULT') ORDER BY position",
            given,
        )
    )
    parts = await store.rows(
        "SELECT DISTINCT partition_id FROM system.parts WHERE database = {database:String} AND table = {table:String} "
        "AND active ORDER BY partition_id",
        given,
    )
    for (part,) in parts:
        await store.command(
            f"INSERT INTO {database}.{table} ({columns}) SELECT {columns} FROM {database}.{moving} "
            "WHERE _partition_id = {part:String}",
            {"part": part},
            {"max_partitions_per_insert_block": 0},
        )
        log.info("rows_moved", table=table, part=part)


async def _refuse_several_shards(store: ClickHouse, cluster: str) -> None:
    ((shards,),) = await store.rows(
        "SELECT max(shard_num) FROM system.clusters WHERE cluster = {cluster:String}", {"cluster": cluster}
    )
    if shards > 1:
        raise LayoutError(
            f"The tables were made by a version that knew one shard, and cluster {cluster} has {shards}: each shard has "
            "merges, keys and dashboards of its own. Take the other shards out of the cluster, run `headrace migrate`, "
            "and follow docs/how-to/cluster.md to add shards."
        )


async def _engines(store: ClickHouse, database: str) -> dict[str, str]:
    rows = await store.rows(
        "SELECT name, engine FROM system.tables WHERE database = {database:String} ORDER BY name",
        {"database": database},
    )
    return {row[0]: row[1] for row in rows}


async def _columns(store: ClickHouse, database: str, table: str) -> list[Any]:
    return list(
        await store.rows(
            "SELECT name, type, default_kind, default_expression FROM system.columns "
            "WHERE database = {database:String} AND table = {table:String} ORDER BY position",
            {"database": database, "table": table},
        )
    )
