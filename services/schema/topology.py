"""Whether a cluster is one that Headrace was made for: else events would be lost, doubled or not seen, without a word.

`read_topology` asks every replica; `reasons_against` and `reasons_after` are pure.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from services.contract.tables import EVENTS, PROMOTED_PREFIX, SCHEMA_MIGRATIONS, SHARDED, WHOLE
from services.runtime.at_once import at_once
from services.runtime.clickhouse import ClickHouse, StoreError, is_older
from services.runtime.cluster import REPLICAS_SQL, Replica, on_replicas, own_table, replicas_of
from services.runtime.cluster import shards_without_majority as shards_without
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import ClickHouseSettings
from services.runtime.store_version import LOWEST_VERSION

# Keeper gives a replica's new rows to the others within milliseconds.
MAX_LAG_S = 300
# Of each replica, by its number: the names and values of its rows. One that has none is in the first.
_LOOKS = (
    ("one", "version()"),
    ("macros", "macro, substitution"),
    ("tables", "name, engine_full, create_table_query"),
    ("replicas", "table, is_readonly, absolute_delay, total_replicas"),
    ("clusters", "shard_num, shard_weight, replica_num, host_name, port"),
)
_COLUMN = re.compile(r"[( ]`(\w+)` ")
# How a server ends a connection of one that it takes for a stranger: as the bytes come that it has not read.
_ENDINGS = ("Attempt to read after eof", "Connection reset by peer", "Broken pipe")
# Of a table whose rows an earlier migration has put aside, and has not moved yet.
MOVING = "_moving"


class TopologyError(OperatorError):
    """The cluster is not one that Headrace works on; the message says what to change."""


class Node(Struct, frozen=True):
    """What a replica says of itself. `engines`, `columns`: by table. `copies`: (table, is read only, seconds behind, replicas in Keeper).
    `shards`: the cluster, as its own configuration has it."""

    replica: Replica
    macros: dict[str, str]
    engines: dict[str, str]
    copies: list[tuple[str, bool, int, int]]
    shards: Sequence[Sequence[Any]] = ()
    version: str = ""
    columns: dict[str, frozenset[str]] = {}


class Topology(Struct, frozen=True):
    """`nodes`: the replicas that answered. `clusters`: the names that this server knows. `shards`: the cluster, as its
    configuration has it."""

    cluster: str
    clusters: Sequence[str]
    replicas: Sequence[Replica]
    nodes: Sequence[Node]
    writes_to_all: bool = False
    shards: Sequence[Sequence[Any]] = ()
    database: str = "headrace"
    # What was said where servers did not answer.
    silence: str = ""

    def of_shards(self) -> dict[int, list[Node]]:
        shards: defaultdict[int, list[Node]] = defaultdict(list)
        for node in self.nodes:
            shards[node.replica.shard].append(node)
        return dict(shards)

    def without_majority(self) -> dict[int, str]:
        """By shard: how many of how many replicas answered, where that is too few for a quorum."""
        return shards_without(self.replicas, [node.replica.number for node in self.nodes])


async def read_topology(store: ClickHouse, cluster: str, database: str) -> Topology:
    """Raises StoreError where the server that is asked does not answer; others may be away."""
    known = await store.rows("SELECT DISTINCT cluster FROM system.clusters ORDER BY cluster")
    replicas = replicas_of(await store.rows(REPLICAS_SQL, {"cluster": cluster}))  # type: ignore[arg-type]
    if not replicas:
        return Topology(cluster, [row[0] for row in known], [], [])
    rows = await store.rows(
        "SELECT shard_num, shard_weight, replica_num, host_name, port FROM system.clusters "
        "WHERE cluster = {cluster:String} ORDER BY shard_num, replica_num",
        {"cluster": cluster},
    )
    async with at_once() as tasks:
        # Each waits for a server that hangs.
        looks = {table: tasks.create_task(_look(store, cluster, database, table, columns)) for table, columns in _LOOKS}
    said = {table: look.result() for table, look in looks.items()}
    to_all = await store.rows(
        "SELECT count() FROM system.clusters WHERE cluster = {cluster:String} AND internal_replication = 0",
        {"cluster": cluster},
    )
    nodes = [
        Node(
            replica,
            dict(said["macros"][replica.number]),
            {table: engine for table, engine, _ in said["tables"][replica.number]},
            [(row[0], bool(row[1]), int(row[2]), int(row[3])) for row in said["replicas"][replica.number]],
            sorted(map(tuple, said["clusters"][replica.number])),
            said["one"][replica.number][0][0],
            {table: frozenset(_COLUMN.findall(definition)) for table, _, definition in said["tables"][replica.number]},
        )
        for replica in replicas
        if replica.number in said["one"]
    ]
    shards = sorted(map(tuple, rows))
    silence = await _silence(store, cluster) if len(nodes) < len(replicas) else ""
    return Topology(cluster, [row[0] for row in known], replicas, nodes, bool(to_all[0][0]), shards, database, silence)


async def _silence(store: ClickHouse, cluster: str) -> str:
    """Why some servers do not answer. One that takes us for a stranger only ends the connection."""
    try:
        await store.rows(f"SELECT 1 FROM {on_replicas(cluster, 'system.one')}")
    except StoreError as error:
        text = " ".join((str(error).partition("Log:")[2] or str(error)).split())[:300]
        if any(ending in text for ending in _ENDINGS):
            text += " (has it another <secret>, or no cluster of this name?)"
        return text
    return ""


async def _look(
    store: ClickHouse, cluster: str, database: str, table: str, columns: str
) -> defaultdict[int, list[Any]]:
    where = {"clusters": "WHERE cluster = {cluster:String}"}.get(table, "")
    if table in ("tables", "replicas"):
        where = "WHERE database = {database:String}"
    rows = await store.rows(
        f"SELECT _shard_num, {columns} FROM {on_replicas(cluster, f'system.{table}')} {where}",
        {"database": database, "cluster": cluster},
        {"skip_unavailable_shards": 1},
    )
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for number, *values in rows:
        found[number].append(values)
    return found


def distributed_engine(cluster: str, database: str, table: str, column: str) -> str:
    """Of the table that shows all shards, as SQL; `column`: by which rows go to their shard."""
    return f"Distributed('{cluster}', '{database}', '{own_table(table, cluster)}', sipHash64({column}))"


async def refuse_topology(store: ClickHouse, settings: ClickHouseSettings) -> None:
    """For migrations. Raises TopologyError, StoreError."""
    database = settings.clickhouse_database
    before = await _tables(store, database)
    topology = await read_topology(store, settings.clickhouse_cluster, database)
    # Another migration may be renaming tables meanwhile: what was seen at one time is not seen at another.
    here = before | await _tables(store, database)
    _refuse([*reasons_against(topology), *_reasons_of_absence(topology), *reasons_of_place(topology, here)])


async def _tables(store: ClickHouse, database: str) -> set[tuple[str, str]]:
    """Of the server that is asked: names and engines."""
    rows = await store.rows(
        "SELECT name, engine_full FROM system.tables WHERE database = {database:String}", {"database": database}
    )
    return {(name, engine) for name, engine in rows}


async def refuse_tables_of_cluster(store: ClickHouse, settings: ClickHouseSettings) -> None:
    """For who has no cluster in the settings: inserts would be acknowledged by one replica, a deletion would reach one shard,
    and a definition one server. Raises TopologyError, StoreError."""
    found = await store.rows(
        "SELECT name FROM system.tables WHERE database = {database:String} AND name IN {tables:Array(String)} "
        "AND engine = 'Distributed'",
        {"database": settings.clickhouse_database, "tables": list(SHARDED)},
    )
    for (table,) in found:
        raise TopologyError(
            f"{table} lies on the shards of a cluster: set HEADRACE_CLICKHOUSE_CLUSTER to its name for every service and "
            "command"
        )


async def refuse_cluster(store: ClickHouse, settings: ClickHouseSettings) -> Topology:
    """For services, with tables that are up to date. Shards that are away are no reason. Raises TopologyError, StoreError."""
    topology = await read_topology(store, settings.clickhouse_cluster, settings.clickhouse_database)
    _refuse([*reasons_against(topology), *reasons_after(topology)])
    return topology


def _refuse(reasons: Iterable[str]) -> None:
    if found := list(dict.fromkeys(reasons)):
        raise TopologyError("The cluster cannot be used. " + " ".join(f"{reason}." for reason in found))


def reasons_against(topology: Topology) -> Iterator[str]:
    """Why no tables should be made on it."""
    cluster = topology.cluster
    if not topology.replicas:
        known = ", ".join(topology.clusters) or "none"
        yield f"HEADRACE_CLICKHOUSE_CLUSTER={cluster}: this server's <remote_servers> has {known}"
        return
    shards = topology.of_shards()
    if topology.writes_to_all and len(topology.replicas) > len({replica.shard for replica in topology.replicas}):
        yield f"Replicas of {cluster} would be written to one by one: set <internal_replication>true</...> for each shard"
    for node in topology.nodes:
        if node.version and is_older(node.version, LOWEST_VERSION):
            yield f"{node.replica.name} is ClickHouse {node.version}: upgrade it to {'.'.join(map(str, LOWEST_VERSION))} or newer"
        if node.shards != topology.shards:
            # Equal ids would go to different shards, and a query would miss some: each server counts by its own.
            yield (
                f"{node.replica.name} knows other servers of {cluster} than the server that was asked, or in another order: "
                "give all servers the same <remote_servers>"
            )
        if missing := [macro for macro in ("shard", "replica") if not node.macros.get(macro)]:
            yield f"{node.replica.name} has no <macros> {', '.join(missing)}: set both on every server"
    names: dict[str, int] = {}
    for shard, nodes in shards.items():
        of_shard = {node.macros.get("shard", "") for node in nodes}
        if len(of_shard) > 1:
            yield f"Servers of shard {shard} say different macros {{shard}}: {', '.join(sorted(of_shard))}. One shard has one"
        for name in of_shard - {""}:
            if names.setdefault(name, shard) != shard:
                yield f"Shards {names[name]} and {shard} have the same macro {{shard}}, {name}: give each its own"
        replicas = [node.macros.get("replica", "") for node in nodes]
        if len(set(replicas)) < len(replicas):
            yield f"Servers of shard {shard} have the same macro {{replica}}: give each its own"


def _reasons_of_absence(topology: Topology) -> Iterator[str]:
    for shard, found in topology.without_majority().items():
        yield (
            f"Of shard {shard} {found} replicas answer; inserts need more than half of them: start the others"
            + (f". Said was: {topology.silence}" if topology.silence else "")
        )


def reasons_of_place(topology: Topology, here: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Why tables must not be made from the server that was asked, which has the tables `here`: an installation that is on
    another server would be hidden, or replaced."""
    of_cluster = [node for node in topology.nodes if node.engines.get(EVENTS, "").startswith("Distributed")]
    of_one = [
        node
        for node in topology.nodes
        if any(_is_before_cluster(*table) and _is_plain(*table) for table in node.engines.items())
    ]
    if of_cluster and of_one:
        # Asked of either, tables of the same names would be made apart.
        yield (
            f"{of_one[0].replica.name} has an installation of its own, and {of_cluster[0].replica.name} that of the cluster: "
            "keep one, and move the other by backup"
        )
        return
    for kind in (_is_before_cluster, _is_moving, _is_migrated):
        found = [node for node in topology.nodes if any(kind(*table) for table in node.engines.items())]
        if not found:
            continue
        if not any(kind(*table) for table in here):
            yield (
                f"{found[0].replica.name} has the tables of an installation, and the server that was asked has not: run "
                "`headrace migrate` with HEADRACE_CLICKHOUSE_URL of that server"
            )
            return
        # Tables that replicate are one installation, or several that `layout.py` refuses.
        of_own = [node for node in found if any(kind(*table) and _is_plain(*table) for table in node.engines.items())]
        if kind is not _is_migrated and len(of_own) > 1:
            names = ", ".join(node.replica.name for node in of_own)
            yield f"{names} have an installation each, and a cluster has one: keep one, and move the others by backup"
            return


def _is_before_cluster(table: str, engine: str) -> bool:
    return table in SHARDED and not engine.startswith("Distributed")


def _is_plain(table: str, engine: str) -> bool:
    return not engine.startswith("Replicated")


def _is_moving(table: str, engine: str) -> bool:
    return table.endswith(MOVING)


def _is_migrated(table: str, engine: str) -> bool:
    return table == SCHEMA_MIGRATIONS


def reasons_after(topology: Topology) -> Iterator[str]:
    """Why services should not work with the tables that are there."""
    wanted = len({replica.shard for replica in topology.replicas})
    replicas = {s: [r for r in topology.replicas if r.shard == s] for s in {r.shard for r in topology.replicas}}
    for node in topology.nodes:
        yield from _reasons_of_tables(topology, node, wanted, len(replicas[node.replica.shard]))
        yield from _reasons_of_columns(topology, node)
        for table, is_readonly, behind_s, in_keeper in node.copies:
            if is_readonly:
                yield f"{table} of {node.replica.name} is read only: can it reach Keeper? See its log, SYSTEM RESTORE REPLICA"
            elif behind_s > MAX_LAG_S:
                yield (
                    f"{table} of {node.replica.name} is {behind_s} s behind the other replicas: wait until it has caught up, "
                    "or take it out of <remote_servers>"
                )
            is_sharded = table.removesuffix("_local") in SHARDED
            here = len(replicas[node.replica.shard]) if is_sharded else len(topology.replicas)
            others = topology.of_shards()[node.replica.shard] if is_sharded else topology.nodes
            there = sum(table in each.engines for each in others)
            # None: Keeper did not say.
            if 0 < in_keeper < there:
                yield (
                    f"Keeper knows {in_keeper} replicas of {table} of {node.replica.name}, and {there} servers have it: they were "
                    "made apart, and have rows of their own. Keep one of them, and move the others by backup"
                )
            if in_keeper // 2 + 1 > here:
                yield (
                    f"Keeper knows {in_keeper} replicas of {table}, the cluster has {here}: no insert would ever have a "
                    "quorum. SYSTEM DROP REPLICA for those that are gone"
                )


def _reasons_of_columns(topology: Topology, node: Node) -> Iterator[str]:
    """No migration makes up for it: it was applied. Promoted properties may be missing: queries do without their columns."""
    for table in (*WHOLE, *[own_table(table, topology.cluster) for table in SHARDED]):
        if table not in node.columns:
            continue
        elsewhere = frozenset[str]().union(*(other.columns.get(table, ()) for other in topology.nodes))
        if missing := sorted(one for one in elsewhere - node.columns[table] if not one.startswith(PROMOTED_PREFIX)):
            yield (
                f"{table} of {node.replica.name} is of an older version: it has no column {', '.join(missing)}. If the server has "
                "just come back, wait; else add it there, as SHOW CREATE TABLE of another server has it"
            )


def _reasons_of_tables(topology: Topology, node: Node, shards: int, replicas: int) -> Iterator[str]:
    cluster, name, engines = topology.cluster, node.replica.name, node.engines
    if not engines:
        # Tables that a user has no right to see are as if they were not there.
        yield (
            f"{name} has no table of {topology.database}, or our user may see none: run `headrace migrate`; where that changes "
            "nothing, give the user its role on that server too (docs/how-to/clickhouse-rights.md)"
        )
        return
    if moving := sum(table.endswith(MOVING) for table in engines):
        yield (
            f"{name} has {moving} tables whose rows are not moved yet: run `headrace migrate` again, with "
            "HEADRACE_CLICKHOUSE_URL of that server"
        )
    for table, column in SHARDED.items():
        own = own_table(table, cluster)
        if own not in engines:
            yield f"{name} has no table {own}: run `headrace migrate`"
        elif replicas > 1 and not engines[own].startswith("Replicated"):
            yield f"{own} of {name} does not replicate: it was made by hand"
        if not engines.get(table, "").startswith(f"Distributed('{cluster}',"):
            yield f"{table} of {name} does not show all shards of {cluster}: run `headrace migrate`"
        elif not engines[table].startswith(distributed_engine(cluster, topology.database, table, column)):
            # By another key, equal ids would lie on different shards, and would not collapse.
            yield f"{table} of {name} does not send rows to the shard of their {column}: run `headrace migrate`"
    for table in WHOLE:
        if table not in engines:
            yield f"{name} has no table {table}: run `headrace migrate`"
        elif engines.get(own_table(EVENTS, cluster), "").startswith("Replicated") and _is_plain(table, engines[table]):
            yield f"{table} of {name} does not replicate: it was made by hand"
        elif shards > 1 and engines[table].split("',")[0].endswith("/{shard}"):
            yield (
                f"{table} of {name} has rows of its shard alone, as versions before made it: follow "
                "docs/how-to/cluster.md to add shards"
            )
