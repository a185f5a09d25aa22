"""Whether a cluster is one that Headrace was made for: else events would be lost, doubled or not seen, without a word.

`read_topology` asks every replica; `reasons_against` and `reasons_after` are pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from services.contract.tables import SHARDED, WHOLE
from services.runtime.clickhouse import ClickHouse
from services.runtime.cluster import REPLICAS_SQL, Replica, on_replicas, own_table, replicas_of
from services.runtime.cluster import shards_without_majority as shards_without
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import ClickHouseSettings

# Keeper gives a replica's new rows to the others within milliseconds.
MAX_LAG_S = 300
# Of each replica, by its number: the names and values of its rows. One that has none is in the first.
_LOOKS = (
    ("one", "dummy"),
    ("macros", "macro, substitution"),
    ("tables", "name, engine_full"),
    ("replicas", "table, is_readonly, absolute_delay, total_replicas"),
)


class TopologyError(OperatorError):
    """The cluster is not one that Headrace works on; the message says what to change."""


class Node(Struct, frozen=True):
    """What a replica says of itself. `engines`: by table. `copies`: (table, is read only, seconds behind, replicas in Keeper)."""

    replica: Replica
    macros: dict[str, str]
    engines: dict[str, str]
    copies: list[tuple[str, bool, int, int]]


class Topology(Struct, frozen=True):
    """`nodes`: the replicas that answered. `clusters`: the names that this server knows."""

    cluster: str
    clusters: Sequence[str]
    replicas: Sequence[Replica]
    nodes: Sequence[Node]
    writes_to_all: bool = False

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
    said = {table: await _look(store, cluster, database, table, columns) for table, columns in _LOOKS}
    to_all = await store.rows(
        "SELECT count() FROM system.clusters WHERE cluster = {cluster:String} AND internal_replication = 0",
        {"cluster": cluster},
    )
    nodes = [
        Node(
            replica,
            dict(said["macros"][replica.number]),
            dict(said["tables"][replica.number]),
            [(row[0], bool(row[1]), int(row[2]), int(row[3])) for row in said["replicas"][replica.number]],
        )
        for replica in replicas
        if replica.number in said["one"]
    ]
    return Topology(cluster, [row[0] for row in known], replicas, nodes, bool(to_all[0][0]))


async def _look(
    store: ClickHouse, cluster: str, database: str, table: str, columns: str
) -> defaultdict[int, list[Any]]:
    where = "WHERE database = {database:String}" if table in ("tables", "replicas") else ""
    rows = await store.rows(
        f"SELECT _shard_num, {columns} FROM {on_replicas(cluster, f'system.{table}')} {where}",
        {"database": database},
        {"skip_unavailable_shards": 1},
    )
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for number, *values in rows:
        found[number].append(values)
    return found


async def refuse_topology(store: ClickHouse, settings: ClickHouseSettings) -> None:
    """For migrations. Raises TopologyError, StoreError."""
    topology = await read_topology(store, settings.clickhouse_cluster, settings.clickhouse_database)
    _refuse([*reasons_against(topology), *_reasons_of_absence(topology)])


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
        yield f"Of shard {shard} {found} replicas answer; inserts need more than half of them: start the others"


def reasons_after(topology: Topology) -> Iterator[str]:
    """Why services should not work with the tables that are there."""
    wanted = len({replica.shard for replica in topology.replicas})
    replicas = {s: [r for r in topology.replicas if r.shard == s] for s in {r.shard for r in topology.replicas}}
    for node in topology.nodes:
        yield from _reasons_of_tables(topology.cluster, node, wanted, len(replicas[node.replica.shard]))
        for table, is_readonly, behind_s, in_keeper in node.copies:
            if is_readonly:
                yield f"{table} of {node.replica.name} is read only: can it reach Keeper? See its log, SYSTEM RESTORE REPLICA"
            elif behind_s > MAX_LAG_S:
                yield (
                    f"{table} of {node.replica.name} is {behind_s} s behind the other replicas: wait until it has caught up, "
                    "or take it out of <remote_servers>"
                )
            here = (
                len(replicas[node.replica.shard]) if table.removesuffix("_local") in SHARDED else len(topology.replicas)
            )
            if in_keeper // 2 + 1 > here:
                yield (
                    f"Keeper knows {in_keeper} replicas of {table}, the cluster has {here}: no insert would ever have a "
                    "quorum. SYSTEM DROP REPLICA for those that are gone"
                )


def _reasons_of_tables(cluster: str, node: Node, shards: int, replicas: int) -> Iterator[str]:
    name, engines = node.replica.name, node.engines
    for table in SHARDED:
        own = own_table(table, cluster)
        if own not in engines:
            yield f"{name} has no table {own}: run `headrace migrate`"
        elif replicas > 1 and not engines[own].startswith("Replicated"):
            yield f"{own} of {name} does not replicate: it was made by hand"
        if not engines.get(table, "").startswith(f"Distributed('{cluster}',"):
            yield f"{table} of {name} does not show all shards of {cluster}: run `headrace migrate`"
    for table in WHOLE:
        if table not in engines:
            yield f"{name} has no table {table}: run `headrace migrate`"
        elif shards > 1 and engines[table].split("',")[0].endswith("/{shard}"):
            yield (
                f"{table} of {name} has rows of its shard alone, as versions before made it: follow "
                "docs/how-to/cluster.md to add shards"
            )
