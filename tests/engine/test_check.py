"""`headrace check` of ClickHouse: each role has what it needs, and what it lacks comes with the GRANT that mends it."""

from unittest.mock import patch

import pytest

from services.operations.check import Row, State, check_clickhouse
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from tests.support.engine import DATABASES, as_role


async def rows(settings: ClickHouseSettings, role: Role) -> dict[str, Row]:
    return {row.what: row async for row in check_clickhouse("s", settings, role)}


@pytest.mark.parametrize("role", Role)
async def test_each_role_has_what_it_needs(clickhouse: ClickHouseSettings, role: Role) -> None:
    found = await rows(as_role(clickhouse, role), role)
    assert {row.what: row.says for row in found.values() if row.state is not State.OK} == {}
    of_cluster = {f"cluster {clickhouse.clickhouse_cluster}"} if clickhouse.clickhouse_cluster else set()
    assert found.keys() - of_cluster == {
        "ClickHouse",
        "ClickHouse's version",
        "tables",
        "rights in ClickHouse",
        "clock of ClickHouse",
    }


async def test_rights_that_are_missing_are_named(clickhouse: ClickHouseSettings) -> None:
    found = await rows(as_role(clickhouse, Role.EDGE), Role.WORKER)
    if clickhouse.clickhouse_cluster:
        # Without the right to look at the cluster no more is asked.
        assert [row.what for row in found.values() if row.state is State.WRONG] == ["ClickHouse"]
        return
    row = found["rights in ClickHouse"]
    database = clickhouse.clickhouse_database
    assert row.state is State.WRONG
    assert f"SELECT, INSERT ON {database}.events" in row.says
    assert f"GRANT SELECT, INSERT ON {database}.events TO {database}_worker;" in row.mend.splitlines()
    assert f"ON {database}.partitioning TO" in row.mend


async def test_a_password_that_is_wrong(clickhouse: ClickHouseSettings) -> None:
    user = as_role(clickhouse, Role.EDGE).model_copy(update={"clickhouse_password": "sesame"})
    found = await rows(user, Role.EDGE)
    assert found.keys() == {"ClickHouse"}
    assert found["ClickHouse"].state is State.WRONG
    assert "HEADRACE_CLICKHOUSE_PASSWORD" in found["ClickHouse"].says


async def test_tables_that_are_not_there(clickhouse: ClickHouseSettings) -> None:
    other = next(name for name in DATABASES if name != clickhouse.clickhouse_database)
    for role in (Role.ADMIN, Role.EDGE):
        user = as_role(clickhouse, role).model_copy(update={"clickhouse_database": other})
        row = (await rows(user, role))["tables"]
        assert (row.state, row.mend) == (State.WRONG, "headrace migrate"), row


async def test_a_migration_that_is_pending(clickhouse: ClickHouseSettings) -> None:
    from services.schema.files import Migration, load_migrations

    more = [*load_migrations(), Migration("0099_more.sql", "", [])]
    with patch("services.operations.check.load_migrations", lambda: more):
        row = (await rows(as_role(clickhouse, Role.ADMIN), Role.ADMIN))["tables"]
    assert (row.state, row.says) == (State.WRONG, "not up to date: 0099_more.sql")


async def test_clocks_that_differ(clickhouse: ClickHouseSettings) -> None:
    from datetime import timedelta

    from services.runtime.clock import utc_now

    for seconds, state in ((10, State.WARNING), (100, State.WRONG), (-100, State.WRONG)):
        with patch("services.operations.check.utc_now", lambda seconds=seconds: utc_now() + timedelta(seconds=seconds)):
            row = (await rows(as_role(clickhouse, Role.EDGE), Role.EDGE))["clock of ClickHouse"]
        assert row.state is state, row
        assert ("behind" if seconds > 0 else "ahead of") in row.says
