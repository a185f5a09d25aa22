"""The ClickHouse that tests run on: an address from the environment, else Docker, else the development server.

`clickhouse` gives a test module a database of its own, with all migrations applied, as its administrator; `as_role`
gives it as a service has it. With pytest-xdist each process has a server of its own.
"""

import asyncio
import contextlib
import os
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from msgspec import Struct

from services.devstack.clickhouse_server import ClickHouseProcess
from services.runtime.clickhouse import ClickHouse
from services.runtime.cluster import cluster_settings, on_cluster, own_table
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate
from services.schema.roles import Role, role_name, roles_sql

ADDRESS = "HEADRACE_TEST_CLICKHOUSE_URL"
# The name of the cluster that is at the address: then all tests of this tier run on it, and those of shards too.
CLUSTER = "HEADRACE_TEST_CLICKHOUSE_CLUSTER"
# One for all: to make a client takes longer than the engine takes for a small insert.
_HTTP = httpx.Client(timeout=60)
IMAGE = "clickhouse/clickhouse-server:26.8.15.10"  # the one of deploy/compose.yaml


@contextlib.asynccontextmanager
async def opened_store(settings: ClickHouseSettings) -> AsyncIterator[ClickHouse]:
    opened = ClickHouse(settings)
    try:
        yield opened
    finally:
        await opened.close()


def engine_kind() -> str:
    """environment, docker or development: the strongest that there is."""
    if os.environ.get(SHARDS):
        return "shards"
    if os.environ.get(ADDRESS):
        return "environment"
    return "docker" if docker_answers() else "development"


def docker_answers() -> bool:
    """Whether a Docker engine can be asked here."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    import docker  # type: ignore[import-untyped]  # a dependency of testcontainers
    from docker.errors import DockerException  # type: ignore[import-untyped]

    try:
        with contextlib.closing(docker.from_env(timeout=5)) as client:
            return bool(client.ping())
    except (DockerException, OSError):
        return False


class User(Struct, frozen=True):
    """Of ClickHouse."""

    name: str
    password: str


class Server(Struct, frozen=True):
    """`root` may make databases and users. None: the users are there, for the databases of DATABASES."""

    url: str
    users: Mapping[Role, User]
    root: User | None
    cluster: str = ""


# Each module has one at a time, and drops it. The development server's users have rights on these and no others.
# With so many shards; each an engine of its own on this machine.
SHARDS = "HEADRACE_TEST_SHARDS"
DATABASES = ("test_0", "test_1", "test_2", "test_3")
_USERS: dict[tuple[str, str], Mapping[Role, User]] = {}
_DIRECT: dict[str, str] = {}


def as_role(settings: ClickHouseSettings, role: Role) -> ClickHouseSettings:
    """The settings of `clickhouse` for a service: with its user, who has only its rights."""
    user = _USERS[settings.clickhouse_url, settings.clickhouse_database][role]
    return settings.model_copy(update={"clickhouse_user": user.name, "clickhouse_password": user.password})


def one_server(settings: ClickHouseSettings) -> ClickHouseSettings:
    """The same, of a server itself: of development servers the front runs some statements in its own way."""
    url = _DIRECT.get(settings.clickhouse_url, settings.clickhouse_url)
    return settings.model_copy(update={"clickhouse_url": url})


@contextlib.contextmanager
def _docker() -> Iterator[Server]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    root = User("tests", secrets.token_hex(16))
    container = (
        DockerContainer(IMAGE)
        .with_env("CLICKHOUSE_USER", root.name)
        .with_env("CLICKHOUSE_PASSWORD", root.password)
        .with_env("CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1")
        .with_exposed_ports(8123)
        .waiting_for(HttpWaitStrategy(8123, "/ping"))
    )
    with container:
        yield Server(f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8123)}", {}, root)


@contextlib.contextmanager
def _development(data_dir: Path) -> Iterator[Server]:
    with ClickHouseProcess(data_dir, databases=DATABASES) as process:
        yield Server(process.url, {role: User(role.value, process.password(role)) for role in Role}, None)


@contextlib.contextmanager
def sharded_server(data_dir: Path, shards: int) -> Iterator[Server]:
    """The cluster of the environment, else development servers that are one."""
    if os.environ.get(ADDRESS) and os.environ.get(CLUSTER):
        with _environment() as server:
            yield server
        return
    from tests.support.cluster import CLUSTER as OURS
    from tests.support.cluster import started_cluster

    with started_cluster(data_dir, DATABASES, shards) as (front, nodes):
        _DIRECT[front.url] = nodes[0].url
        yield Server(front.url, {role: User(role.value, nodes[0].password(role)) for role in Role}, None, OURS)


@contextlib.contextmanager
def _environment() -> Iterator[Server]:
    settings = ClickHouseSettings(clickhouse_url=os.environ[ADDRESS])
    root = User(settings.clickhouse_user, settings.clickhouse_password)
    yield Server(settings.clickhouse_url, {}, root, os.environ.get(CLUSTER) or "")


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    kind = engine_kind()
    running: AbstractContextManager[Server]
    if shards := int(os.environ.get(SHARDS) or 0):
        running = sharded_server(tmp_path_factory.mktemp("clickhouse"), shards)
    elif kind == "environment":
        running = _environment()
    else:
        running = _docker() if kind == "docker" else _development(tmp_path_factory.mktemp("clickhouse"))
    with running as server:
        yield server


@pytest.fixture(scope="module")
def clickhouse(clickhouse_server: Server) -> Iterator[ClickHouseSettings]:
    """Settings of a fresh database; dropped afterwards."""
    with new_database(clickhouse_server) as settings:
        asyncio.run(migrate(settings))
        yield settings


@contextlib.contextmanager
def new_database(server: Server) -> Iterator[ClickHouseSettings]:
    """Without tables; dropped afterwards."""
    with _database(server) as database:
        given = ClickHouseSettings(
            clickhouse_url=server.url, clickhouse_database=database, clickhouse_cluster=server.cluster
        )
        settings = as_role(given, Role.ADMIN)
        yield settings
        send_sql(settings, f"DROP DATABASE IF EXISTS {database} {on_cluster(server.cluster)} SYNC", database="default")


@contextlib.contextmanager
def _database(server: Server) -> Iterator[str]:
    """The name of a database that is not there, and users for it."""
    everywhere = on_cluster(server.cluster)
    if server.root is None:
        database = next(name for name in DATABASES if (server.url, name) not in _USERS)
        users = server.users
    else:
        database = f"test_{uuid.uuid4().hex[:16]}"
        users = {role: User(f"{role_name(role, database)}_user", secrets.token_hex(16)) for role in Role}
        _as_root(server, roles_sql(database, server.cluster))
        for role, user in users.items():
            by = f"IDENTIFIED WITH sha256_password BY '{user.password}'"
            _as_root(server, [f"CREATE USER {user.name} {everywhere} {by}"])
            _as_root(server, [f"GRANT {everywhere} {role_name(role, database)} TO {user.name}"])
    _USERS[server.url, database] = users
    try:
        yield database
    finally:
        del _USERS[server.url, database]
        if server.root is not None:
            _as_root(server, [f"DROP USER {user.name} {everywhere}" for user in users.values()])
            _as_root(server, [f"DROP ROLE {role_name(role, database)} {everywhere}" for role in users])


def _as_root(server: Server, statements: list[str]) -> None:
    assert server.root is not None
    settings = ClickHouseSettings(
        clickhouse_url=server.url, clickhouse_user=server.root.name, clickhouse_password=server.root.password
    )
    for statement in statements:
        send_sql(settings, statement, database="default")


def send_sql(
    settings: ClickHouseSettings, sql: str, data: bytes = b"", database: str | None = None, session: str | None = None
) -> str:
    """One statement in plain HTTP, without our own client; the answer's text. `data` are an insert's rows."""
    response = _HTTP.post(
        settings.clickhouse_url,
        params={
            "query": sql,
            "database": database or settings.clickhouse_database,
            **({"session_id": session} if session else {}),
            **{name: str(value) for name, value in cluster_settings(settings.clickhouse_cluster).items()},
        },
        content=data,
        headers={"X-ClickHouse-User": settings.clickhouse_user, "X-ClickHouse-Key": settings.clickhouse_password},
    )
    assert response.status_code == 200, response.text
    return response.text


def own_rows(settings: ClickHouseSettings, table: str) -> str:
    """After ALTER TABLE and OPTIMIZE TABLE: the table that has the rows, on every shard."""
    return f"{own_table(table, settings.clickhouse_cluster)} {on_cluster(settings.clickhouse_cluster)}"


def insert_lines(settings: ClickHouseSettings, table: str, lines: bytes) -> None:
    """JSON lines; keys are columns."""
    if lines:
        sql = f"INSERT INTO {table} SETTINGS date_time_input_format = 'best_effort' FORMAT JSONEachRow"
        send_sql(settings, sql, lines)
