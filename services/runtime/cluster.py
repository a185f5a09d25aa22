"""ClickHouse as a cluster: where a table's rows are, and under which settings nothing is lost or doubled there.

An insert is acknowledged by the majority of a shard's replicas. Whoever has to know all that was acknowledged reads from a
majority of each shard: every such read meets every such insert. docs/decisions/0044-ids-of-a-majority.md
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from services.contract.tables import SHARDED

# For every statement. An operator's profile may say otherwise.
_SETTINGS: dict[str, int | str] = {
    # The shards have the rows before the answer comes, not a file that is sent on later.
    "distributed_foreground_insert": 1,
    "insert_quorum": "auto",
    "insert_quorum_parallel": 1,
    # Events of one person are on all shards: a part of a query that asks for them asks all. Tables that are whole on every
    # node are read where the events are.
    "distributed_product_mode": "global",
    # Rows may lie on the shard that was theirs when there were fewer.
    "optimize_skip_unused_shards": 0,
    "skip_unavailable_shards": 0,
    # A shard that has stopped, connections open, says nothing for so long.
    "receive_timeout": 10,
    "handshake_timeout_ms": 3000,
    "connections_with_failover_max_tries": 2,
    # Definitions: until all replicas have them. A replica that is away gets them when it is back.
    "alter_sync": 2,
    "distributed_ddl_output_mode": "none_only_active",
}

# Of a server that did not answer a moment ago.
_SHORT_HANDSHAKE_MS = 1000


def cluster_settings(cluster: str) -> Mapping[str, int | str]:
    """Nothing for one server."""
    return _SETTINGS if cluster else {}


def settings_within(cluster: str, limit_s: float) -> Mapping[str, int]:
    """For a statement with a limit of time: what a shard may be silent for leaves time to do without it."""
    if not cluster:
        return {}
    silent_s, handshake_ms = int(_SETTINGS["receive_timeout"]), int(_SETTINGS["handshake_timeout_ms"])
    return {
        "receive_timeout": max(1, min(silent_s, int(limit_s / 2))),
        "handshake_timeout_ms": max(100, min(handshake_ms, int(limit_s * 1000 / 6))),
    }


def settings_of_look(cluster: str) -> Mapping[str, int]:
    """To see whether a server that did not answer a moment ago does so now: one short try."""
    return {"receive_timeout": 1, **_one_try(int(_SETTINGS["handshake_timeout_ms"]))} if cluster else {}


def settings_without_missing(cluster: str, limit_s: float) -> Mapping[str, int]:
    """Beside `settings_within`, for a statement that does without shards that are away. One of them has just not answered: it
    is not waited for as long again."""
    if not cluster:
        return {}
    usual_ms = settings_within(cluster, limit_s)["handshake_timeout_ms"]
    return {**_one_try(usual_ms), "skip_unavailable_shards": 1}


def _one_try(usual_ms: int) -> Mapping[str, int]:
    return {"handshake_timeout_ms": min(_SHORT_HANDSHAKE_MS, usual_ms), "connections_with_failover_max_tries": 1}


def of_each_shard(cluster: str, table: str) -> str:
    """A table after FROM, as SQL: its rows on one replica of each shard."""
    return f"cluster('{cluster}', {table})"


def own_table(table: str, cluster: str) -> str:
    """The table that has the rows: on a cluster, the sharded ones are seen through another of their name."""
    return f"{table}_local" if cluster and table in SHARDED else table


def on_cluster(cluster: str) -> str:
    """The clause of a statement, as SQL; nothing for one server."""
    return f"ON CLUSTER '{cluster}'" if cluster else ""


def on_replicas(cluster: str, table: str) -> str:
    """A table after FROM, as SQL: its rows on all replicas of all shards. `_shard_num` then numbers the replicas."""
    return f"clusterAllReplicas('{cluster}', {table})" if cluster else table


def rows_of(cluster: str, database: str, table: str) -> str:
    """A table after FROM, as SQL: on a cluster the rows of all replicas, for one that is behind must not hide what another
    one has."""
    return on_replicas(cluster, f"{database}.{own_table(table, cluster)}") if cluster else table


class Replica(Struct, frozen=True):
    """Of a shard; `number` counts through all shards."""

    number: int
    shard: int
    name: str


REPLICAS_SQL = "SELECT shard_num, host_name, port FROM system.clusters WHERE cluster = {cluster:String} ORDER BY shard_num, replica_num"


SHARDS_SQL = (
    "SELECT shard_num, any(shard_weight) FROM system.clusters WHERE cluster = {cluster:String} "
    "GROUP BY shard_num ORDER BY shard_num"
)


def replicas_of(rows: Iterable[tuple[int, str, int]]) -> list[Replica]:
    """Of the rows of REPLICAS_SQL."""
    return [Replica(number, shard, f"{host}:{port}") for number, (shard, host, port) in enumerate(rows, start=1)]


def shards_without_majority(replicas: Iterable[Replica], answered: Iterable[int]) -> dict[int, str]:
    """By shard, of those of which no majority is among the replicas that answered: how many of how many did."""
    there, all_of = set(answered), list(replicas)
    total = Counter(replica.shard for replica in all_of)
    found = Counter(replica.shard for replica in all_of if replica.number in there)
    return {shard: f"{found[shard]} of {count}" for shard, count in total.items() if found[shard] <= count // 2}
