"""Who may do what in ClickHouse: one user a service, and of rights only what its statements need. The one list of it.

`make run` renders it as ClickHouse's users.xml; `headrace roles` prints it as SQL for a server in production. Nobody
here may use `file`, `url`, `s3` and their like: these need rights of their own, and no service has them.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from services.contract.tables import (
    API_KEYS,
    CATALOG,
    CATALOG_GROUPS,
    CATALOG_TOTALS,
    COHORT_IDS,
    COHORTS,
    DASHBOARDS,
    DELETED_IDS,
    DELETION_QUEUES,
    DELETION_SWEEPS,
    DELETIONS,
    EVENTS,
    EXPIRED,
    IDENTITY_LOG,
    PARTITIONING,
    PERSON_IDS,
    PROJECT_LIMITS,
    SCHEMA_MIGRATIONS,
    SHARDED,
    TAKEN_IDS,
    USAGE,
)
from services.runtime.cluster import on_cluster, own_table

_READ = ("SELECT",)
_ADD = ("SELECT", "INSERT")
# A deletion is a mutation of the table: the right to it is ALTER DELETE, not DELETE. Of a link that is another's only
# the deleted id goes: ALTER UPDATE.
_ERASE = ("SELECT", "ALTER DELETE")


class Role(StrEnum):
    """`ADMIN` is for migrations, the commands of `headrace`, and people."""

    EDGE = "edge"
    WORKER = "worker"
    QUERY = "query"
    ADMIN = "admin"


class _Rights(Struct, frozen=True):
    """`tables`: privileges on tables of Headrace's database. `database`: on all of it. `server`: whole clauses."""

    tables: Mapping[str, Sequence[str]] = {}
    database: str = ""
    server: Sequence[str] = ()


_RIGHTS = {
    # Keys, limits and the spread of ids, how many events it has accepted, and nothing of what is sent.
    Role.EDGE: _Rights({API_KEYS: _READ, PARTITIONING: _READ, PROJECT_LIMITS: _READ, USAGE: _ADD}),
    # What it adds to, and the ids and merges that it reads to add each event once. Of a deletion it says which ids are the
    # person's. No keys, no dashboards.
    Role.WORKER: _Rights(
        {
            EVENTS: _ADD,
            IDENTITY_LOG: _ADD,
            PERSON_IDS: _ADD,
            DELETIONS: _ADD,
            DELETED_IDS: _ADD,
            TAKEN_IDS: _READ,
            PARTITIONING: _ADD,
            SCHEMA_MIGRATIONS: _READ,
        }
    ),
    # Queries only read. Dashboards, cohorts, the catalog and deletions are kept here; a deletion rewrites what it deletes from.
    # A property that is read all the time gets a column.
    Role.QUERY: _Rights(
        {
            API_KEYS: _READ,
            EVENTS: (*_ERASE, "ALTER ADD COLUMN", "ALTER MATERIALIZE COLUMN"),
            IDENTITY_LOG: (*_ERASE, "ALTER UPDATE"),
            PERSON_IDS: _ERASE,
            DASHBOARDS: _ADD,
            DELETIONS: _ADD,
            DELETED_IDS: _ADD,
            TAKEN_IDS: _ADD,
            DELETION_QUEUES: _ADD,
            DELETION_SWEEPS: _ADD,
            SCHEMA_MIGRATIONS: _READ,
            CATALOG: _ADD,
            CATALOG_TOTALS: _ADD,
            CATALOG_GROUPS: _ADD,
            COHORTS: _ADD,
            COHORT_IDS: (*_ADD, "ALTER DELETE"),
            PROJECT_LIMITS: _READ,
            EXPIRED: _ADD,
        },
        server=("SELECT ON system.mutations", "SELECT ON system.parts"),
    ),
    # All of the database and its definition; the server's tables about itself; nothing of the server or of other users.
    Role.ADMIN: _Rights(
        database="ALL",
        server=(
            "SELECT ON system.*",
            "KILL QUERY ON *.*",
            "CLUSTER ON *.*",
            "SYSTEM DROP CACHE ON *.*",
            "TABLE ENGINE ON ReplacingMergeTree",
            "TABLE ENGINE ON ReplicatedReplacingMergeTree",
            # Backups: to the disks that the server's configuration allows for them.
            "READ, WRITE ON DISK",
        ),
    ),
}

# Of a cluster's other servers, and to ask them. Deletions rewrite tables of all shards.
_LOOK_AT_CLUSTER = (
    *[f"SELECT ON system.{table}" for table in ("clusters", "macros", "one", "replicas", "tables")],
    "SHOW TABLES ON {database}.*",
)
_ON_CLUSTER: Mapping[Role, Sequence[str]] = {
    Role.EDGE: (),
    Role.WORKER: (*_LOOK_AT_CLUSTER, "READ ON REMOTE", "SYSTEM SYNC REPLICA ON {database}.*"),
    Role.QUERY: (*_LOOK_AT_CLUSTER, "READ ON REMOTE", "CLUSTER ON *.*"),
    Role.ADMIN: ("READ ON REMOTE", "TABLE ENGINE ON Distributed"),
}


def grants_of(role: Role, database: str, cluster: str = "") -> list[str]:
    """What the role may do, as clauses of GRANT: `SELECT ON headrace.api_keys`."""
    rights = _RIGHTS[role]
    tables = dict(rights.tables)
    if cluster:
        tables |= {own_table(table, cluster): names for table, names in tables.items() if table in SHARDED}
    on_tables = [f"{', '.join(names)} ON {database}.{table}" for table, names in tables.items()]
    on_database = [f"{rights.database} ON {database}.*"] if rights.database else []
    of_cluster = [clause.format(database=database) for clause in _ON_CLUSTER[role]] if cluster else []
    return [*on_tables, *on_database, *rights.server, *of_cluster]


def role_name(role: Role, database: str) -> str:
    """Roles of several databases may be on one server."""
    return f"{database}_{role}"


def roles_sql(database: str, cluster: str = "") -> list[str]:
    """Statements that make the roles, to be given to users with passwords of their own. Safe to repeat."""
    statements = []
    for role in Role:
        name = role_name(role, database)
        statements.append(f"CREATE ROLE IF NOT EXISTS {name} {on_cluster(cluster)}".rstrip())
        statements += [
            f"GRANT {on_cluster(cluster)} {grant} TO {name}".replace("  ", " ")
            for grant in grants_of(role, database, cluster)
        ]
    return statements
