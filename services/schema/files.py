"""The numbered SQL files as statements: templates for engine and cluster only.

On a cluster, the tables of SHARDED become replicated ones on each shard, under a name of their own (`layout.py` makes what
shows them as one). All others have one path in Keeper for all shards: every node has all of their rows.
"""

import hashlib
import re
from importlib import resources

from msgspec import Struct

from services.contract.tables import SHARDED
from services.runtime.cluster import on_cluster, own_table

_OF_SHARD = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'"
_OF_ALL = "'/clickhouse/tables/{uuid}', '{shard}_{replica}'"
# Rows a granule of the sharded tables. It cannot be changed in a table that is there, which keeps the 8,192 it was made with.
_GRANULARITY = 2048
_TABLE = re.compile(r"(CREATE TABLE IF NOT EXISTS|ALTER TABLE) (\w+) ")


class Migration(Struct, frozen=True):
    """One file. `statements` are ready to run."""

    name: str
    checksum: str
    statements: list[str]


def load_migrations(cluster: str = "") -> list[Migration]:
    """All files in order of their numbers, as SQL for one server (`cluster` empty) or for that cluster."""
    folder = resources.files("services.schema") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [_read(f.name, f.read_text(encoding="utf-8"), cluster) for f in files]


def whole_table_engine(cluster: str) -> str:
    """Of a table that is whole on every node, as SQL."""
    return _with_engine("{replacing_merge_tree}", cluster, _OF_ALL)


def _read(name: str, text: str, cluster: str) -> Migration:
    sql = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    statements = [_render(s.strip().rstrip(";"), cluster) for s in sql.split(";\n") if s.strip()]
    return Migration(name, hashlib.sha256(text.encode()).hexdigest(), statements)


def _render(statement: str, cluster: str) -> str:
    match = _TABLE.match(statement)
    table = match[2] if match else ""
    statement = _TABLE.sub(lambda m: f"{m[1]} {own_table(m[2], cluster)} ", statement, count=1)
    statement = _with_engine(statement, cluster, _OF_SHARD if table in SHARDED else _OF_ALL)
    window = "replicated_deduplication_window" if cluster else "non_replicated_deduplication_window"
    statement = statement.replace("{deduplication_window}", window)
    if table in SHARDED and statement.startswith("CREATE"):
        statement += f", index_granularity = {_GRANULARITY}"
    # Keeper tells the other replicas of a table, wherever they are; of settings it tells nobody.
    tells_itself = table not in SHARDED and statement.startswith("ALTER") and "MODIFY SETTING" not in statement
    return statement.replace("{on_cluster}", "" if tells_itself else on_cluster(cluster))


def _with_engine(statement: str, cluster: str, path: str) -> str:
    def engine(match: re.Match[str]) -> str:
        version = match.group(1) or ""
        if cluster:
            return f"ReplicatedReplacingMergeTree({path}{', ' + version if version else ''})"
        return f"ReplacingMergeTree({version})"

    return re.sub(r"\{replacing_merge_tree(?::(\w+))?\}", engine, statement)
