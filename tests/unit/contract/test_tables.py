"""The lines that cross Kafka have the columns that the migrations make. ClickHouse would drop others silently."""

import re
from typing import Any

import pytest
from msgspec import Raw, structs

from services.contract.log.envelope import EventLine, IdentityLine
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
    EVENT_COLUMNS,
    EVENTS,
    EXPIRED,
    IDENTITY_COLUMNS,
    IDENTITY_LOG,
    PARTITIONING,
    PERSON_IDS,
    PROJECT_LIMITS,
    TAKEN_IDS,
    USAGE,
)
from services.schema.files import load_migrations


def tables() -> dict[str, dict[str, str]]:
    """Table -> column -> type, as all migrations together leave them. Without columns that ClickHouse works out."""
    found: dict[str, dict[str, str]] = {}
    for statement in [s for migration in load_migrations() for s in migration.statements]:
        created = re.match(r"CREATE TABLE IF NOT EXISTS (\w+)\s+\((.*?)\n\)\s*ENGINE", statement, re.DOTALL)
        if created:
            columns = [line.strip().rstrip(",") for line in created.group(2).strip().splitlines()]
            found[created.group(1)] = dict(column.split(" ", 1) for column in columns)
        added = re.match(r"ALTER TABLE (\w+)\s+ADD COLUMN IF NOT EXISTS (\w+) (.*)", statement, re.DOTALL)
        if added and " MATERIALIZED " not in added.group(3):
            found[added.group(1)][added.group(2)] = added.group(3)
        known = created or added or re.search(" MODIFY | INDEX | ADD CONSTRAINT ", statement)
        assert known, f"this test does not know what it does: {statement}"
    return found


def test_every_table_that_has_a_name_in_the_contract_is_made() -> None:
    assert set(tables()) == {
        EVENTS,
        IDENTITY_LOG,
        PERSON_IDS,
        API_KEYS,
        DASHBOARDS,
        DELETIONS,
        DELETED_IDS,
        PARTITIONING,
        TAKEN_IDS,
        DELETION_QUEUES,
        DELETION_SWEEPS,
        CATALOG,
        CATALOG_TOTALS,
        CATALOG_GROUPS,
        COHORTS,
        COHORT_IDS,
        PROJECT_LIMITS,
        USAGE,
        EXPIRED,
    }


@pytest.mark.parametrize(("table", "columns"), [(EVENTS, EVENT_COLUMNS), (IDENTITY_LOG, IDENTITY_COLUMNS)])
def test_a_line_has_exactly_the_columns_of_its_table(table: str, columns: tuple[str, ...]) -> None:
    assert columns == tuple(tables()[table])


SQL_TYPES: dict[str, tuple[str, ...]] = {
    "event_id": ("UUID",),
    "timestamp": ("DateTime64(6, 'UTC')",),
    "received_at": ("DateTime64(6, 'UTC')",),
}


@pytest.mark.parametrize(("table", "line"), [(EVENTS, EventLine), (IDENTITY_LOG, IdentityLine)])
def test_each_column_can_hold_what_a_line_carries(table: str, line: Any) -> None:
    fields = {field.name: field.type for field in structs.fields(line)}
    for column, sql in tables()[table].items():
        expected = SQL_TYPES.get(column, ("String", "LowCardinality(String)"))
        assert sql.split(" CODEC(")[0] in expected, column
        assert fields[column] in (str, Raw) or sql.startswith("DateTime64"), column
