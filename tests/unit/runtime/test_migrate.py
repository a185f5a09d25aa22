"""The migrations' runner: files become statements for one server or a cluster, each applied once, none changed."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, Self

import pytest

from services.runtime.clickhouse import ClickHouse, Parameters, Settings
from services.runtime.settings import ClickHouseSettings
from services.schema.files import load_migrations
from services.schema.migrate import MigrationError, migrate, steps_ahead

FORMS = pytest.mark.parametrize("cluster", ["", "main"], ids=["plain", "cluster"])


def statements(cluster: str) -> list[str]:
    return [statement for migration in load_migrations(cluster) for statement in migration.statements]


def test_files_are_numbered_without_gaps() -> None:
    names = [migration.name for migration in load_migrations()]
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        assert re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name)


@FORMS
def test_a_statement_is_ready_to_run(cluster: str) -> None:
    for statement in statements(cluster):
        assert re.match(r"(CREATE TABLE IF NOT EXISTS|ALTER TABLE) \w+ ", statement), statement
        assert ";" not in statement
        assert "--" not in statement
        # What is left in braces are the server's own macros.
        assert set(re.findall(r"\{\w+[^}]*\}", statement)) <= {"{uuid}", "{shard}", "{replica}"}


@FORMS
def test_a_new_table_of_events_has_small_granules(cluster: str) -> None:
    granules = {
        s.split()[5]: s.partition("index_granularity = ")[2] for s in statements(cluster) if s.startswith("CREATE")
    }
    assert granules["events_local" if cluster else "events"] == "2048"


def test_one_server_has_plain_tables() -> None:
    for statement in statements(""):
        assert "ON CLUSTER" not in statement
        assert "Replicated" not in statement
        assert not re.search(r"(?<!non_)replicated_deduplication_window", statement)


def test_a_cluster_has_replicated_tables_everywhere() -> None:
    for statement in statements("main"):
        assert "non_replicated" not in statement
        if statement.startswith("CREATE TABLE"):
            # Events are those of a shard. All else has one path for all shards, on which no two have the same name.
            names = "/{uuid}/{shard}', '{replica}'" if "events_local" in statement else "/{uuid}', '{shard}_{replica}'"
            assert "ON CLUSTER 'main'" in statement
            assert f"ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables{names}" in statement


def test_on_a_cluster_nobody_is_told_twice() -> None:
    """An ALTER of a table that is whole on every node reaches all by Keeper, once; settings reach nobody by it."""
    altered = [statement for statement in statements("main") if statement.startswith("ALTER")]
    for statement in altered:
        is_of_shards = statement.startswith("ALTER TABLE events_local ")
        assert ("ON CLUSTER 'main'" in statement) == (is_of_shards or "MODIFY SETTING" in statement), statement
    assert not any(re.match(r"ALTER TABLE events ", statement) for statement in altered)


def test_both_forms_are_the_same_tables() -> None:
    def bare(statement: str) -> str:
        statement = re.sub(
            r"ReplicatedReplacingMergeTree\('[^']+', '[^']*\{replica\}'(?:, )?", "ReplacingMergeTree(", statement
        ).replace("events_local", "events")
        statement = (
            statement.replace("ON CLUSTER 'main'", "")
            .replace("non_replicated", "replicated")
            .replace("TABLE  ", "TABLE ")
        )
        return " ".join(statement.split())

    assert [bare(s) for s in statements("main")] == [bare(s) for s in statements("")]


def test_checksums_do_not_depend_on_the_form() -> None:
    assert [m.checksum for m in load_migrations("")] == [m.checksum for m in load_migrations("main")]


def test_every_file_says_how_to_roll_back() -> None:
    for migration in load_migrations():
        text = (resources.files("services.schema") / "migrations" / migration.name).read_text()
        header = [line for line in text.splitlines() if line.startswith("--")]
        assert any("Roll back:" in line for line in header), migration.name


class MemoryServer(ClickHouse):
    """Remembers the statements and keeps schema_migrations. `applied` stands for all connections."""

    applied: dict[str, str]
    ran: list[str]
    spread = 0

    @classmethod
    async def connect(cls, settings: ClickHouseSettings, *, database: str | None = None) -> Self:
        return cls(settings, database=database)

    async def close(self) -> None:
        pass

    async def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        if "Distributed" in sql:
            return []
        if "system.tables" in sql:
            return [(1,)] if any("schema_migrations" in statement for statement in self.ran) else []
        return list(self.applied.items())

    async def command(self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None) -> None:
        if "schema_lock" in sql:
            return
        if "partitioning (buckets" in sql:
            self.spread += "WHERE" in sql
            return
        if sql.startswith("INSERT"):
            values = dict(parameters or {})
            self.applied[values["name"]] = values["checksum"]
        self.ran.append(f"{self.database}: {sql}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> type[MemoryServer]:
    class Server(MemoryServer):
        pass

    Server.applied, Server.ran = {}, []
    monkeypatch.setattr("services.schema.migrate.ClickHouse", Server)
    return Server


SETTINGS = ClickHouseSettings(clickhouse_database="blue", clickhouse_cluster="")


async def test_an_empty_server_gets_everything_once_and_in_order(server: type[MemoryServer]) -> None:
    names = [migration.name for migration in load_migrations()]
    assert await migrate(SETTINGS) == names
    assert list(server.applied) == names
    assert server.ran[0].startswith("default: CREATE DATABASE IF NOT EXISTS blue")
    in_database = [statement for statement in server.ran if statement.startswith("blue: ")]
    assert in_database == [f"blue: {statement}" for statement in statements("")]
    before = list(server.ran)
    assert await migrate(SETTINGS) == []
    assert server.ran == before


async def test_a_dry_run_changes_nothing(server: type[MemoryServer]) -> None:
    assert await steps_ahead(SETTINGS) == [f"apply {migration.name}" for migration in load_migrations()]
    assert server.ran == []


async def test_only_what_is_missing_is_applied(server: type[MemoryServer]) -> None:
    await migrate(SETTINGS)
    last = list(server.applied)[-1]
    del server.applied[last]
    assert await migrate(SETTINGS) == [last]


async def test_a_file_that_changed_after_it_was_applied_is_refused(server: type[MemoryServer]) -> None:
    await migrate(SETTINGS)
    first = next(iter(server.applied))
    server.applied[first] = "0" * 64
    ran = len(server.ran)
    with pytest.raises(MigrationError, match=f"{first} was applied and has changed"):
        await migrate(SETTINGS)
    assert len(server.ran) == ran


async def test_a_database_of_a_newer_program_is_left_alone(server: type[MemoryServer]) -> None:
    await migrate(SETTINGS)
    server.applied["9999_future.sql"] = "0" * 64
    with pytest.raises(MigrationError, match=r"newer than this program: it has 9999_future\.sql"):
        await migrate(SETTINGS)


async def test_a_migration_that_fails_is_not_noted(server: type[MemoryServer], monkeypatch: pytest.MonkeyPatch) -> None:
    command = server.command

    async def failing(self: MemoryServer, sql: str, *args: Any, **options: Any) -> None:
        if "identity_log" in sql and not sql.startswith("INSERT"):
            raise RuntimeError("refused")
        await command(self, sql, *args, **options)

    monkeypatch.setattr(server, "command", failing)
    with pytest.raises(RuntimeError):
        await migrate(SETTINGS)
    assert list(server.applied) == ["0001_events.sql"]
    monkeypatch.setattr(server, "command", command)
    assert (await migrate(SETTINGS))[0] == "0002_identity.sql"
