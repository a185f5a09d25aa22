"""What each service's user may do and may not, asked of ClickHouse; and that nobody else gets in."""

import httpx
import pytest

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
    TAKEN_IDS,
    USAGE,
)
from services.runtime.cluster import own_table
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role, roles_sql
from tests.support.engine import as_role, one_server, send_sql

TABLES = {
    EVENTS,
    IDENTITY_LOG,
    PERSON_IDS,
    API_KEYS,
    DASHBOARDS,
    DELETIONS,
    DELETED_IDS,
    PARTITIONING,
    CATALOG,
    CATALOG_TOTALS,
    CATALOG_GROUPS,
    COHORTS,
    COHORT_IDS,
    TAKEN_IDS,
    DELETION_QUEUES,
    DELETION_SWEEPS,
    SCHEMA_MIGRATIONS,
    PROJECT_LIMITS,
    USAGE,
    EXPIRED,
}
PEOPLE = {EVENTS, IDENTITY_LOG, PERSON_IDS}
MAY = {
    Role.EDGE: {
        "read": {API_KEYS, PARTITIONING, PROJECT_LIMITS, USAGE},
        "add": {USAGE},
        "erase": set(),
        "widen": set(),
        "define": set(),
    },
    Role.WORKER: {
        "read": PEOPLE | {DELETED_IDS, DELETIONS, TAKEN_IDS, PARTITIONING, SCHEMA_MIGRATIONS},
        "add": PEOPLE | {DELETED_IDS, DELETIONS, PARTITIONING},
        "erase": set(),
        "widen": set(),
        "define": set(),
    },
    Role.QUERY: {
        "read": TABLES - {PARTITIONING, USAGE},
        "add": {
            DASHBOARDS,
            DELETIONS,
            DELETED_IDS,
            TAKEN_IDS,
            DELETION_QUEUES,
            DELETION_SWEEPS,
            CATALOG,
            CATALOG_TOTALS,
            CATALOG_GROUPS,
            COHORTS,
            COHORT_IDS,
            EXPIRED,
        },
        "erase": PEOPLE | {COHORT_IDS},
        "widen": {EVENTS},
        "define": set(),
    },
    Role.ADMIN: {"read": TABLES, "add": TABLES, "erase": TABLES, "widen": TABLES, "define": TABLES},
}
STATEMENTS = {
    "read": "SELECT count() FROM {}",
    "add": "INSERT INTO {0} SELECT * FROM {0} WHERE false",
    "erase": "ALTER TABLE {} DELETE WHERE false",
    "widen": "ALTER TABLE {} ADD COLUMN IF NOT EXISTS added UInt8",
    "define": "ALTER TABLE {} DROP COLUMN IF EXISTS no_such_column",
}
# Each leaves ClickHouse or the database of Headrace: files, networks, programs, other users, the server itself.
FOR_NOBODY = [
    "SELECT * FROM file('/etc/passwd', 'LineAsString', 's String')",
    "INSERT INTO FUNCTION file('/tmp/written', 'LineAsString', 's String') VALUES ('x')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 's String')",
    "INSERT INTO FUNCTION url('http://127.0.0.1:1/', 'LineAsString', 's String') VALUES ('x')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'LineAsString', 's String')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM executable('id', 'LineAsString', 's String')",
    "CREATE TABLE outside (s String) ENGINE = URL('http://127.0.0.1:1/', 'LineAsString')",
    "CREATE TABLE outside (s String) ENGINE = File('LineAsString', '/etc/passwd')",
    "CREATE DATABASE other",
    "CREATE USER other IDENTIFIED WITH no_password",
    "GRANT SELECT ON system.* TO {user}",
    "SYSTEM STOP LISTEN HTTP",
    "SYSTEM SHUTDOWN",
    "SYSTEM FLUSH LOGS",
]
DENIED = "ACCESS_DENIED"
HTTP = httpx.Client()


def answer(settings: ClickHouseSettings, sql: str) -> httpx.Response:
    return HTTP.post(
        settings.clickhouse_url,
        params={"database": settings.clickhouse_database},
        content=sql,
        auth=(settings.clickhouse_user, settings.clickhouse_password),
        timeout=30,
    )


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("right", STATEMENTS)
def test_rights_on_tables(clickhouse: ClickHouseSettings, role: Role, right: str) -> None:
    user = one_server(as_role(clickhouse, role))
    allowed = set()
    for table in TABLES:
        response = answer(user, STATEMENTS[right].format(own_table(table, clickhouse.clickhouse_cluster)))
        if response.status_code == 200:
            allowed.add(table)
        else:
            assert DENIED in response.text, response.text
    assert allowed == MAY[role][right]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("statement", FOR_NOBODY)
def test_nobody_leaves_the_database(clickhouse: ClickHouseSettings, role: Role, statement: str) -> None:
    if clickhouse.clickhouse_cluster and role is Role.ADMIN and "remote(" in statement:
        pytest.skip("on a cluster the administrator makes tables that ask other servers")
    user = one_server(as_role(clickhouse, role))
    response = answer(user, statement.format(user=user.clickhouse_user))
    assert response.status_code != 200
    assert DENIED in response.text, response.text


@pytest.mark.parametrize("role", [Role.EDGE, Role.WORKER, Role.QUERY])
@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE events",
        "TRUNCATE TABLE events",
        "DROP DATABASE {database}",
        "RENAME TABLE events TO gone",
        "OPTIMIZE TABLE events",
        "CREATE TABLE more (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a",
        "SELECT * FROM system.users",
        "SELECT * FROM system.processes",
        "KILL QUERY WHERE true",
    ],
)
def test_a_service_defines_nothing_and_sees_no_other(
    clickhouse: ClickHouseSettings, role: Role, statement: str
) -> None:
    response = answer(as_role(clickhouse, role), statement.format(database=clickhouse.clickhouse_database))
    assert response.status_code != 200
    assert DENIED in response.text, response.text


@pytest.mark.parametrize("role", Role)
def test_a_wrong_password_lets_nobody_in(clickhouse: ClickHouseSettings, role: Role) -> None:
    user = as_role(clickhouse, role)
    for password in ("", "x", user.clickhouse_password[:-1]):
        response = answer(user.model_copy(update={"clickhouse_password": password}), "SELECT 1")
        assert response.status_code in (401, 403)
        assert "AUTHENTICATION_FAILED" in response.text


def test_the_statements_for_a_server_are_sql(clickhouse: ClickHouseSettings) -> None:
    for cluster in ("", "shop"):
        for statement in roles_sql("headrace", cluster):
            quoted = statement.replace("'", "\\'")
            read = send_sql(clickhouse, f"SELECT formatQuerySingleLine('{quoted}')").replace("\\'", "'").strip()
            assert ("ON CLUSTER" in read) == bool(cluster)
