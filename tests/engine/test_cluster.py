"""A cluster of real engines: what is acknowledged is found whoever is away, and a shard that is away is noticed."""

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from services.cli.store import with_store
from services.contract.api.endpoints import BASE_PATH
from services.contract.log.topics import BUCKETS, Partitioning
from services.contract.tables import EVENT_COLUMNS, EVENTS, PERSON_IDS
from services.devstack.child_process import free_port
from services.devstack.clickhouse_server import ClickHouseProcess
from services.operations.check import State, check_clickhouse
from services.operations.properties import list_promoted, promote
from services.operations.shards import look_at_shards
from services.query.sql.events import EVENTS_ONCE
from services.runtime import cluster as cluster_module
from services.runtime.clickhouse import BadDataError, ClickHouse, StoreError, StoreUnavailableError
from services.runtime.cluster import on_replicas
from services.runtime.settings import ClickHouseSettings
from services.schema.agreement import agree_with_schema
from services.schema.files import load_migrations
from services.schema.layout import LayoutError
from services.schema.migrate import migrate, steps_ahead
from services.schema.roles import Role
from services.schema.topology import TopologyError, read_topology
from services.worker.consumer.store_restarts import StoreRestarts
from services.worker.dedupe.clickhouse import stored_ids
from services.worker.dedupe.ids import ids_from_bytes
from services.worker.dedupe.memory import MemoryDedupe
from services.worker.dedupe.stored import NoMajorityError
from services.worker.events.writer import ALL_DIFFERENT
from services.worker.until_stored import fresh_token, until_stored
from tests.support import engine
from tests.support.cluster import CLUSTER, Everywhere, new_nodes, running, started_cluster
from tests.support.engine import Server, User, as_role, insert_lines, new_database, send_sql
from tests.support.query_client import QueryClient

AT = datetime.now(UTC)
WINDOW = {"since": "2026-01-01", "until": "2100-01-01"}


class Cluster:
    """Two shards, with tables."""

    def __init__(self, front: Everywhere, nodes: list[ClickHouseProcess], settings: ClickHouseSettings) -> None:
        self.front, self.nodes, self.settings = front, nodes, settings


def as_admin(url: str, node: ClickHouseProcess, cluster: str = CLUSTER) -> ClickHouseSettings:
    return ClickHouseSettings(
        clickhouse_url=url,
        clickhouse_cluster=cluster,
        clickhouse_user=Role.ADMIN.value,
        clickhouse_password=node.password(Role.ADMIN),
    )


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that tests do not wait long for a server that has stopped."""
    monkeypatch.setitem(cluster_module._SETTINGS, "receive_timeout", 2)
    monkeypatch.setitem(cluster_module._SETTINGS, "handshake_timeout_ms", 500)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two shards. One of them was an installation on one server before, with 300 events and a merge."""
    with started_cluster(tmp_path_factory.mktemp("cluster"), engine.DATABASES) as (front, nodes):
        users = {role: User(role.value, nodes[0].password(role)) for role in Role}
        with new_database(Server(front.url, users, None, CLUSTER)) as settings:
            plain = settings.model_copy(update={"clickhouse_url": nodes[0].url, "clickhouse_cluster": ""})
            asyncio.run(migrate(plain))
            insert_lines(plain, EVENTS, lines("before", ids_of(300)))
            merged = {"project_id": "before", "distinct_id": "a", "person_id": "b", "version": 2**33}
            insert_lines(plain, PERSON_IDS, json.dumps(merged).encode())
            asyncio.run(migrate(settings))
            yield Cluster(front, nodes, settings)


def lines(project: str, ids: Sequence[uuid.UUID]) -> bytes:
    row = {"project_id": project, "event": "e", "distinct_id": "u", "properties": "{}"}
    row |= {"timestamp": AT.isoformat(), "received_at": AT.isoformat(), "idempotency_key": "", "original_timestamp": ""}
    return b"".join(json.dumps({**row, "event_id": str(one)}).encode() + b"\n" for one in ids)


def ids_of(count: int) -> list[uuid.UUID]:
    return [uuid.uuid4() for _ in range(count)]


async def insert(settings: ClickHouseSettings, project: str, ids: Sequence[uuid.UUID]) -> None:
    """As the worker does."""
    store = ClickHouse(as_role(settings, Role.WORKER))
    try:
        await store.insert_lines(EVENTS, EVENT_COLUMNS, lines(project, ids), fresh_token(), ALL_DIFFERENT)
    finally:
        await store.close()


def count(settings: ClickHouseSettings, project: str) -> tuple[int, int]:
    """Rows as queries see them, and ids."""
    sql = f"SELECT count(), uniqExact(event_id) FROM {EVENTS_ONCE} WHERE project_id = '{project}'"
    once, ids = send_sql(settings, sql).split()
    return int(once), int(ids)


async def test_an_installation_on_one_server_becomes_a_cluster(cluster: Cluster) -> None:
    settings = cluster.settings
    assert await migrate(settings) == []
    assert count(settings, "before") == (300, 300)
    rows = []
    for node in cluster.nodes:
        only = settings.model_copy(update={"clickhouse_url": node.url})
        assert send_sql(only, f"SELECT person_id FROM {PERSON_IDS} WHERE project_id = 'before'").strip() == "b"
        rows.append(int(send_sql(only, "SELECT count() FROM events_local WHERE project_id = 'before'")))
    assert min(rows) > 100
    # Nothing is dropped of it but by the operator.
    only = settings.model_copy(update={"clickhouse_url": cluster.nodes[0].url})
    assert send_sql(only, "SELECT count() FROM events_moved").strip() == "300"


async def test_both_shards_have_events_and_equal_ids_meet(cluster: Cluster) -> None:
    ids = ids_of(200)
    await insert(cluster.settings, "meet", ids)
    await insert(cluster.settings, "meet", ids[:150])
    assert count(cluster.settings, "meet") == (200, 200)
    store = ClickHouse(cluster.settings)
    shards = await look_at_shards(store)
    await store.close()
    assert [shard.elsewhere for shard in shards] == [0, 0]
    assert min(shard.rows for shard in shards) > 50
    assert [shard.share for shard in shards] == [0.5, 0.5]


async def test_services_agree_with_it_and_refuse_it_without_the_setting(cluster: Cluster) -> None:
    for role in (Role.WORKER, Role.QUERY):
        settings = as_role(cluster.settings, role)
        await agree_with_schema(settings)
        with pytest.raises(TopologyError, match="set HEADRACE_CLICKHOUSE_CLUSTER"):
            await agree_with_schema(settings.model_copy(update={"clickhouse_cluster": ""}))
        with pytest.raises(TopologyError, match=r"HEADRACE_CLICKHOUSE_CLUSTER=shops: .* has shop"):
            await agree_with_schema(settings.model_copy(update={"clickhouse_cluster": "shops"}))


async def test_no_command_works_on_it_without_the_setting(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration was applied to one server, and counted as applied to all."""
    without = cluster.settings.model_copy(update={"clickhouse_cluster": ""})
    with pytest.raises(TopologyError, match="set HEADRACE_CLICKHOUSE_CLUSTER"):
        await migrate(without)
    for name in ("url", "user", "password", "database"):
        monkeypatch.setenv(f"HEADRACE_CLICKHOUSE_{name.upper()}", getattr(without, f"clickhouse_{name}"))

    async def work(*_: object) -> None:
        raise AssertionError

    with pytest.raises(TopologyError, match="set HEADRACE_CLICKHOUSE_CLUSTER"):
        await asyncio.to_thread(with_store, work)


async def test_each_server_says_its_version(cluster: Cluster) -> None:
    """One that is older than it may be was looked at only where it was the one that is asked."""
    store = ClickHouse(as_role(cluster.settings, Role.WORKER))
    topology = await read_topology(store, CLUSTER, cluster.settings.clickhouse_database)
    ((version,),) = await store.rows("SELECT version()")
    # As each has worked it out: that is so of all that a server says of itself.
    ports = await store.rows(f"SELECT tcpPort(), version() FROM {on_replicas(CLUSTER, 'system.one')}")
    await store.close()
    assert [node.version for node in topology.nodes] == [version, version]
    assert {port for port, _ in ports} == {node.config.tcp_port for node in cluster.nodes}


async def test_the_check_says_how_many_servers_answer(cluster: Cluster) -> None:
    for role in (Role.WORKER, Role.QUERY, Role.ADMIN):
        rows = [row async for row in check_clickhouse("s", as_role(cluster.settings, role), role)]
        assert [row for row in rows if row.state is State.WRONG] == []
        assert [row.says for row in rows if row.what == "cluster shop"] == ["2 of 2 servers answer, shards: 2"]
        # Without the setting no service would start; the check found nothing wrong.
        without = as_role(cluster.settings, role).model_copy(update={"clickhouse_cluster": ""})
        rows = [row async for row in check_clickhouse("s", without, role)]
        assert [row.what for row in rows if "set HEADRACE_CLICKHOUSE_CLUSTER" in row.says] == ["cluster"]


async def test_a_shard_without_its_table_is_refused(cluster: Cluster) -> None:
    database = cluster.settings.clickhouse_database
    only = cluster.settings.model_copy(update={"clickhouse_url": cluster.nodes[1].url})
    send_sql(only, f"RENAME TABLE {database}.{PERSON_IDS} TO {database}.elsewhere")
    try:
        with pytest.raises(TopologyError, match=f"has no table {PERSON_IDS}: run `headrace migrate`"):
            await agree_with_schema(as_role(cluster.settings, Role.WORKER))
    finally:
        send_sql(only, f"RENAME TABLE {database}.elsewhere TO {database}.{PERSON_IDS}")


async def test_a_migration_says_which_server_has_a_table_that_is_not_here(cluster: Cluster) -> None:
    """Of the asked server's own words no operator learns what to do."""
    settings, (first, second) = cluster.settings, cluster.nodes
    definition = send_sql(settings, "SHOW CREATE TABLE cohorts FORMAT TSVRaw")
    for node, says in (
        (first, rf"cohorts .* HEADRACE_CLICKHOUSE_URL of .*:{second.config.tcp_port}, which has it"),
        (second, "no other server has it: restore it from a backup"),
    ):
        send_sql(settings.model_copy(update={"clickhouse_url": node.url}), "DROP TABLE cohorts SYNC")
        with pytest.raises(LayoutError, match=says):
            await migrate(settings)
    for node in cluster.nodes:
        send_sql(settings.model_copy(update={"clickhouse_url": node.url}), definition)


async def test_tables_are_made_from_the_old_server_alone(tmp_path: Path) -> None:
    """Asked of another server, a migration replaced the table that had the events."""
    nodes = new_nodes(tmp_path, ("headrace",), [1, 1])
    with running(nodes) as (front, _):
        old, settings = as_admin(nodes[0].url, nodes[0], cluster=""), as_admin(front.url, nodes[0])
        await migrate(old)
        insert_lines(old, EVENTS, lines("before", ids_of(50)))
        front.first = 1
        with pytest.raises(
            TopologyError, match="has the tables of an installation, and the server that was asked has not"
        ):
            await migrate(settings)
        assert send_sql(old, f"SELECT count() FROM {EVENTS}").strip() == "50"
        front.first = 0
        # It said that the tables were up to date.
        assert (await steps_ahead(settings))[-1].startswith(
            "move the rows of one server to the cluster: identity_log, "
        )
        assert len(await steps_ahead(settings)) == len(load_migrations()) + 1
        await migrate(settings)
        assert count(settings, "before") == (50, 50)
        assert await steps_ahead(settings) == []
        # By then all have them.
        front.first = 1
        assert await migrate(settings) == []
        # A table that was made by hand would spread equal ids.
        send_sql(
            old,
            "CREATE OR REPLACE TABLE events AS events_local ENGINE = Distributed(shop, headrace, events_local, rand())",
        )
        with pytest.raises(TopologyError, match="does not send rows to the shard of their event_id"):
            await agree_with_schema(settings)
        assert await steps_ahead(settings) == ["replace the table events by one that shows all shards"]
        await migrate(settings)
        await agree_with_schema(settings)
        place = nodes[1].config.place
        assert place is not None
        await asyncio.to_thread(nodes[1].stop)
        nodes[1].join(structs.replace(place, shards=place.shards[::-1]))
        await asyncio.to_thread(nodes[1].start)
        with pytest.raises(TopologyError, match="knows other servers of shop than the server that was asked"):
            await agree_with_schema(settings)


async def test_a_migration_that_ended_while_it_put_tables_aside_goes_on(tmp_path: Path) -> None:
    """It put them aside once more, and then knew no table for their rows."""
    nodes = new_nodes(tmp_path, ("headrace",), [1, 1])
    with running(nodes) as (front, _):
        old, settings = as_admin(nodes[0].url, nodes[0], cluster=""), as_admin(front.url, nodes[0])
        await migrate(old)
        insert_lines(old, EVENTS, lines("before", ids_of(50)))
        merged = {"project_id": "before", "distinct_id": "a", "person_id": "b", "version": 2**33}
        insert_lines(old, PERSON_IDS, json.dumps(merged).encode())
        send_sql(old, "CREATE TABLE of_the_operator (id UInt64) ENGINE = ReplacingMergeTree ORDER BY id")
        for table in ("identity_log", PERSON_IDS):
            send_sql(old, f"RENAME TABLE {table} TO {table}_moving")
        *_, last = await steps_ahead(settings)
        assert last.startswith("move the rows of one server to the cluster: identity_log, person_ids, ")
        await migrate(settings)
        assert count(settings, "before") == (50, 50)
        for node in nodes:
            only = settings.model_copy(update={"clickhouse_url": node.url})
            assert send_sql(only, f"SELECT person_id FROM {PERSON_IDS} WHERE project_id = 'before'").strip() == "b"
        assert "of_the_operator\n" in send_sql(old, "SHOW TABLES")
        await agree_with_schema(settings)


async def test_of_a_server_that_shows_our_user_nothing_it_is_said(tmp_path: Path) -> None:
    """A new server's users were forgotten. It was advised to migrate, for each table once, and there was nothing to migrate.
    Of a server that takes ours for a stranger nothing was said, but that it should be started."""
    nodes = new_nodes(tmp_path, ("headrace",), [1, 1])
    with running(nodes) as (front, _):
        settings, place = as_admin(front.url, nodes[0]), nodes[1].config.place
        await migrate(settings)
        await asyncio.to_thread(nodes[1].stop)
        assert place is not None
        nodes[1].config = structs.replace(nodes[1].config, databases=("other",))
        await asyncio.to_thread(nodes[1].start)
        worker = {"clickhouse_user": Role.WORKER.value, "clickhouse_password": nodes[0].password(Role.WORKER)}
        with pytest.raises(TopologyError) as raised:
            await agree_with_schema(settings.model_copy(update=worker))
        assert "has no table of headrace, or our user may see none: run `headrace migrate`; where" in str(raised.value)
        assert str(raised.value).count("headrace migrate") == 1
        for other in ({"secret": "0" * 32}, {"cluster": "shops"}):
            await asyncio.to_thread(nodes[1].stop)
            nodes[1].join(structs.replace(place, **other))
            await asyncio.to_thread(nodes[1].start)
            with pytest.raises(TopologyError, match=r"has it another <secret>, or no cluster of this name\?"):
                await migrate(settings)
            rows = [row async for row in check_clickhouse("s", settings, Role.ADMIN)]
            assert "has it another <secret>" in next(row.says for row in rows if row.state is State.WRONG)


async def test_a_promoted_property_has_its_column_on_all_shards(cluster: Cluster) -> None:
    store = ClickHouse(cluster.settings)
    await insert(cluster.settings, "promoted", ids_of(20))
    await promote(store, CLUSTER, "plan", new_only=False)
    assert [each.key for each in await list_promoted(store)] == ["plan"]
    await store.close()
    assert send_sql(cluster.settings, f"SELECT uniq(property_plan) FROM {EVENTS}").strip() == "1"
    await insert(cluster.settings, "promoted", ids_of(20))


async def test_a_server_with_tables_of_an_older_version_is_named(cluster: Cluster) -> None:
    """Everything was found well, and then each insert into that shard failed."""
    first = cluster.settings.model_copy(update={"clickhouse_url": cluster.nodes[0].url})
    role = as_role(cluster.settings, Role.WORKER)
    for table, column in (("events_local", "later"), ("identity_log", "later")):
        send_sql(first, f"ALTER TABLE {table} ADD COLUMN {column} Nullable(String)")
        try:
            rows = [row async for row in check_clickhouse("worker", role, Role.WORKER)]
            (wrong,) = [row for row in rows if row.state is State.WRONG]
            other = f"127.0.0.1:{cluster.nodes[1].config.tcp_port}"
            assert f"{table} of {other} is of an older version: it has no column {column}." in wrong.says
            with pytest.raises(TopologyError, match="is of an older version"):
                await agree_with_schema(role)
        finally:
            send_sql(first, f"ALTER TABLE {table} DROP COLUMN {column}")
    await agree_with_schema(role)


async def test_any_server_that_started_again_is_noticed(cluster: Cluster) -> None:
    store = ClickHouse(as_role(cluster.settings, Role.WORKER))
    restarts = StoreRestarts(store, None, 1, dict, [])  # type: ignore[arg-type]
    await asyncio.sleep(2)
    assert await restarts.look() is None
    cluster.nodes[1].kill()
    assert await restarts.look() is None  # away: it is looked at when it is back
    await asyncio.to_thread(cluster.nodes[1].start)
    await asyncio.sleep(3)
    assert await restarts.look() is not None
    assert await restarts.look() is None
    await store.close()


@pytest.mark.parametrize("how", ["killed", "stalled"])
def test_while_a_shard_is_away_queries_are_503_or_partial(cluster: Cluster, how: str) -> None:
    node, ids = cluster.nodes[1], ids_of(100)
    with (
        QueryClient.started(cluster.settings, projects=1) as client,
        QueryClient.started(cluster.settings, projects=1, query_skip_unavailable_shards=True) as lenient,
    ):
        ((project, key),) = client.projects
        asyncio.run(insert(cluster.settings, project, ids))
        before = count(cluster.settings, project)[0]
        assert len(client.ask("/query/events", key, WINDOW)["events"]) == before
        if how == "killed":
            node.kill()
        else:
            os.kill(node.pid, signal.SIGSTOP)
        try:
            refused = client.post("/query/events", key, WINDOW)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
            assert int(refused.headers["retry-after"]) > 0
            found = lenient.post("/query/events", key, WINDOW)
            assert found.status_code == 200
            assert found.json()["partial"] is True
            assert 0 < len(found.json()["events"]) < before
            assert "etag" not in found.headers
            table = lenient.send("POST", f"{BASE_PATH}/query/events", key, json=WINDOW, headers={"accept": "text/csv"})
            assert table.headers["x-partial"] == "true"
            with pytest.raises(StoreUnavailableError):
                asyncio.run(insert(cluster.settings, project, ids))
        finally:
            if how == "killed":
                node.start()
            else:
                os.kill(node.pid, signal.SIGCONT)
        # A try that was half stored is stored again, whole.
        asyncio.run(insert(cluster.settings, project, ids))
        assert count(cluster.settings, project) == (before, before)
        whole = lenient.ask("/query/events", key, WINDOW)
        assert len(whole["events"]) == before
        assert "partial" not in whole
        table = lenient.send("POST", f"{BASE_PATH}/query/events", key, json=WINDOW, headers={"accept": "text/csv"})
        assert "x-partial" not in table.headers
        assert lenient.send("GET", f"{BASE_PATH}/dashboard/list", key).status_code == 200


def test_a_shard_that_hangs_makes_no_query_too_expensive(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its silence is longer than what a query may take."""
    monkeypatch.setitem(cluster_module._SETTINGS, "receive_timeout", 10)
    monkeypatch.setitem(cluster_module._SETTINGS, "handshake_timeout_ms", 3000)
    node, ids = cluster.nodes[1], ids_of(50)
    with (
        QueryClient.started(cluster.settings, projects=2, query_max_execution_s=3) as client,
        QueryClient.started(
            cluster.settings, projects=2, query_max_execution_s=3, query_skip_unavailable_shards=True
        ) as lenient,
    ):
        _, (project, key) = client.projects
        asyncio.run(insert(cluster.settings, project, ids))
        for each in (client, lenient):
            assert len(each.ask("/query/events", key, WINDOW)["events"]) == 50
        os.kill(node.pid, signal.SIGSTOP)
        try:
            refused = client.post("/query/events", key, WINDOW)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
            assert int(refused.headers["retry-after"]) > 0
            assert lenient.ask("/query/events", key, WINDOW)["partial"] is True
        finally:
            os.kill(node.pid, signal.SIGCONT)


def test_a_shard_that_hangs_is_waited_for_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each query waited for it three times, and so did the next one. As soon as it is back, answers are whole."""
    monkeypatch.setitem(cluster_module._SETTINGS, "handshake_timeout_ms", 3000)
    node = cluster.nodes[1]
    with QueryClient.started(cluster.settings, projects=3, query_skip_unavailable_shards=True) as lenient:
        *_, (project, key) = lenient.projects
        asyncio.run(insert(cluster.settings, project, ids_of(50)))

        def ask(limit: int) -> tuple[float, bool]:
            started = time.monotonic()
            found = lenient.ask("/query/events", key, {**WINDOW, "limit": limit})
            return time.monotonic() - started, "partial" in found

        assert not ask(1000)[1]
        os.kill(node.pid, signal.SIGSTOP)
        try:
            first, *others = [ask(limit) for limit in range(100, 104)]
        finally:
            os.kill(node.pid, signal.SIGCONT)
        assert all(is_partial for _, is_partial in (first, *others))
        assert first[0] < 12  # a try of the fingerprint, a look, and the answer
        assert max(took for took, _ in others) < 5
        assert not ask(200)[1]
        node.kill()
        assert ask(300)[1]
        node.start()
        assert not ask(301)[1]


async def test_a_shard_that_stores_slowly_is_not_given_the_same_rows_for_ever(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it stores, it says nothing; what it was given was taken for lost, and lay there once more with each try."""
    monkeypatch.setitem(cluster_module._SETTINGS, "function_sleep_max_microseconds_per_block", 0)
    monkeypatch.setitem(cluster_module._SETTINGS, "receive_timeout", 1)
    second = cluster.settings.model_copy(update={"clickhouse_url": cluster.nodes[1].url})
    ids, tries = ids_of(40), 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        await insert(cluster.settings, "slow", ids)

    send_sql(second, "ALTER TABLE events_local ADD CONSTRAINT slow CHECK sleepEachRow(0.12) = 0")
    try:
        async with asyncio.timeout(60):
            await until_stored(attempt)
    finally:
        send_sql(second, "ALTER TABLE events_local DROP CONSTRAINT slow")
    assert 1 < tries <= 5
    assert count(cluster.settings, "slow") == (40, 40)


class _Wire:
    """Passes on what comes to `port`; where `ends_after` is set, so many bytes of the server's, and ends the connection."""

    def __init__(self, upstream_port: int) -> None:
        self.port, self._upstream_port = free_port(), upstream_port
        self.ends_after: int | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", self.port)

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()

    def drop(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        self._open |= {writer, back}
        await asyncio.gather(
            self._copy(reader, back, is_answer=False), self._copy(there, writer, is_answer=True), return_exceptions=True
        )

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        while data := await reader.read(65536):
            if is_answer and self.ends_after is not None:
                data, self.ends_after = data[: self.ends_after], max(0, self.ends_after - len(data))
            writer.write(data)
            await writer.drain()
            if is_answer and self.ends_after == 0:
                break
        writer.close()


async def test_a_connection_that_ends_within_a_packet_is_a_shard_that_is_away(tmp_path: Path) -> None:
    """Its code is that of rows that cannot be read: good events would become dead letters."""
    wires: dict[int, _Wire] = {}

    def reached_at(port: int) -> int:
        wires[port] = _Wire(port)
        return wires[port].port

    nodes = new_nodes(tmp_path, ("headrace",), [1, 1], reached_at=reached_at)
    with running(nodes) as (front, _):
        for each in wires.values():
            await each.start()
        settings = as_admin(front.url, nodes[0])
        await migrate(settings)
        wire, ids = wires[nodes[1].config.tcp_port], ids_of(50)
        store, said = ClickHouse(settings), set()
        for ends_after in (*range(480, 490), 400, 200, 100, 20):
            wire.drop()
            wire.ends_after = ends_after
            try:
                await store.insert_lines(EVENTS, EVENT_COLUMNS, lines("cut", ids), fresh_token(), ALL_DIFFERENT)
            except StoreError as error:
                said.add((error.code, isinstance(error, BadDataError)))
        assert (33, False) in said  # CANNOT_READ_ALL_DATA
        assert not any(is_bad for _, is_bad in said)
        wire.ends_after = None
        wire.drop()
        await store.insert_lines(EVENTS, EVENT_COLUMNS, lines("cut", ids), fresh_token(), ALL_DIFFERENT)
        rows = await store.rows(f"SELECT count() FROM {EVENTS_ONCE} WHERE project_id = 'cut'")
        assert rows[0][0] == 50
        await store.close()
        for each in wires.values():
            each.stop()
        await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Everywhere, list[ClickHouseProcess]]]:
    """One shard of three servers. Nothing replicates: the test says which of them have got an insert."""
    with running(new_nodes(tmp_path_factory.mktemp("replicas"), ("headrace",), [3])) as cluster:
        yield cluster


async def test_ids_of_a_majority_are_all_that_were_acknowledged(
    replicas: tuple[Everywhere, list[ClickHouseProcess]],
) -> None:
    front, nodes = replicas
    admin = as_admin(front.url, nodes[0])
    for node in nodes:
        only = admin.model_copy(update={"clickhouse_url": node.url, "clickhouse_cluster": ""})
        send_sql(only, "CREATE DATABASE headrace", database="default")
        for table, more in (("events_local", "project_id String, "), ("taken_ids", "")):
            send_sql(
                only,
                f"CREATE TABLE {table} ({more}event_id UUID, received_at DateTime64(6, 'UTC')) "
                "ENGINE = ReplacingMergeTree ORDER BY event_id",
            )
    send_sql(
        admin.model_copy(update={"clickhouse_url": nodes[0].url}),
        f"CREATE TABLE events AS events_local ENGINE = Distributed({CLUSTER}, headrace, events_local)",
    )
    spread, ids = Partitioning(1, BUCKETS), ids_of(90)
    # A quorum is any two of three; what one has alone was never acknowledged.
    for at, holders in enumerate([(0, 1), (1, 2), (0, 2)]):
        for holder in holders:
            only = admin.model_copy(update={"clickhouse_url": nodes[holder].url, "clickhouse_cluster": ""})
            rows = [{"event_id": str(one), "received_at": AT.isoformat()} for one in ids[30 * at : 30 * at + 30]]
            insert_lines(only, "events_local", "\n".join(map(json.dumps, rows)).encode())
    packed = ids_from_bytes(b"".join(one.bytes for one in ids))
    worker = admin.model_copy(
        update={"clickhouse_user": Role.WORKER.value, "clickhouse_password": nodes[0].password(Role.WORKER)}
    )
    store = ClickHouse(worker)
    for away in (None, 1, 2):
        if away is not None:
            nodes[away].kill()
        dedupe = MemoryDedupe(store, 7 * 86_400, spread)
        await dedupe.load({0: AT.timestamp()})
        assert len(dedupe.index) == 90
        assert (await dedupe.duplicates(packed)).all()
        assert len(await stored_ids(store, packed, AT.timestamp() - 60)) == 90
        if away is not None:
            await asyncio.to_thread(nodes[away].start)
    os.kill(nodes[1].pid, signal.SIGSTOP)
    # A connection that was open says nothing; the next try finds that no new one can be made.
    assert len(await until_stored(lambda: stored_ids(store, packed, AT.timestamp() - 60))) == 90
    os.kill(nodes[1].pid, signal.SIGCONT)
    nodes[1].kill()
    nodes[2].kill()
    with pytest.raises(NoMajorityError, match="1 of 3 of shard 1"):
        await MemoryDedupe(store, 7 * 86_400, spread).load({0: AT.timestamp()})
    await store.close()


def test_with_one_replica_of_three_away_the_catalog_is_built_and_read(tmp_path: Path) -> None:
    """It was answered 503, and fell behind for as long as that replica was away."""
    with running(new_nodes(tmp_path, engine.DATABASES, [3])) as (front, nodes):
        users = {role: User(role.value, nodes[0].password(role)) for role in Role}
        with new_database(Server(front.url, users, None, CLUSTER)) as settings:
            asyncio.run(migrate(settings))
            with QueryClient.started(settings, projects=1, query_catalog_every_s=0.5) as client:
                ((project, key),) = client.projects
                nodes[2].kill()
                # Without what stands for replication: it writes to all three or none.
                front.nodes = front.nodes[:2]
                asyncio.run(insert(settings, project, ids_of(20)))
                deadline = time.monotonic() + 60
                while (found := client.ask("/query/catalog", key, {"event": "e"}))["building"] or not found["events"]:
                    assert time.monotonic() < deadline
                    client.run(asyncio.sleep(0.2))
                assert [one["events"] for one in found["events"]] == [20]
                assert found["properties"]["sample"] == 20


async def test_a_shard_is_added_and_nothing_has_to_move(tmp_path: Path) -> None:
    nodes = new_nodes(tmp_path, ("headrace",), [1, 1])
    both = [node.config.place for node in nodes]
    assert both[0] is not None
    nodes[0].join(structs.replace(both[0], shards=both[0].shards[:1]))
    front = Everywhere([nodes[0].url])
    settings = as_admin(front.url, nodes[0])
    before, after = ids_of(200), ids_of(200)
    store = ClickHouse(settings)
    try:
        await asyncio.to_thread(nodes[0].start)
        front.start()
        await migrate(settings)
        await store.insert_lines(EVENTS, EVENT_COLUMNS, lines("p", before), fresh_token(), ALL_DIFFERENT)
        await asyncio.to_thread(nodes[0].stop)
        nodes[0].join(both[0])
        for node in nodes:
            await asyncio.to_thread(node.start)
        front.nodes = [node.url for node in nodes]
        *_, last = await steps_ahead(settings)
        assert last.startswith(f"make tables on 127.0.0.1:{nodes[1].config.tcp_port}: identity_log, ")
        await migrate(settings)
        assert await steps_ahead(settings) == []
        await store.insert_lines(EVENTS, EVENT_COLUMNS, lines("p", after), fresh_token(), ALL_DIFFERENT)
        assert count(settings, "p") == (400, 400)
        first, second = await look_at_shards(store)
        assert first.rows + second.rows == 400
        assert second.elsewhere == 0
        assert 50 < first.elsewhere < 150  # those of before, whose shard is the second one by now
        packed = ids_from_bytes(b"".join(one.bytes for one in [*before, *after]))
        assert len(await stored_ids(store, packed, AT.timestamp() - 60)) == 400
    finally:
        await store.close()
        front.stop()
        for node in nodes:
            node.kill()
