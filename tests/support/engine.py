"""The ClickHouse that integration tests run on: an address from the environment, else Docker, else chDB over HTTP.

`clickhouse` gives a test module a database of its own, with all migrations applied.
"""

import asyncio
import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate

ADDRESS = "HEADRACE_TEST_CLICKHOUSE_URL"
IMAGE = "clickhouse/clickhouse-server:26.8.15.10"  # the one of deploy/compose.yaml


def engine_kind() -> str:
    """environment, docker or chdb: the strongest that there is."""
    if os.environ.get(ADDRESS):
        return "environment"
    return "docker" if docker_answers() else "chdb"


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


@contextlib.contextmanager
def _docker() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    container = (
        DockerContainer(IMAGE)
        .with_env("CLICKHOUSE_SKIP_USER_SETUP", "1")
        .with_exposed_ports(8123)
        .waiting_for(HttpWaitStrategy(8123, "/ping"))
    )
    with container:
        yield f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8123)}"


@contextlib.contextmanager
def _chdb(data_dir: Path) -> Iterator[str]:
    from services.devstack.clickhouse_server import ClickHouseProcess

    with ClickHouseProcess(data_dir) as process:
        yield process.url


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    kind = engine_kind()
    if kind == "environment":
        yield os.environ[ADDRESS]
        return
    running = _docker() if kind == "docker" else _chdb(tmp_path_factory.mktemp("clickhouse"))
    with running as url:
        yield url


@pytest.fixture(scope="module")
def clickhouse(clickhouse_url: str) -> Iterator[ClickHouseSettings]:
    """Settings of a fresh database; dropped afterwards."""
    database = f"test_{uuid.uuid4().hex[:16]}"
    settings = ClickHouseSettings(clickhouse_url=clickhouse_url, clickhouse_database=database)
    asyncio.run(migrate(settings))
    yield settings
    send_sql(settings, f"DROP DATABASE {database}", database="default")


def send_sql(settings: ClickHouseSettings, sql: str, data: bytes = b"", database: str | None = None) -> str:
    """One statement in plain HTTP, without our own client; the answer's text. `data` are an insert's rows."""
    response = httpx.post(
        settings.clickhouse_url,
        params={"query": sql, "database": database or settings.clickhouse_database},
        content=data,
        headers={"X-ClickHouse-User": settings.clickhouse_user, "X-ClickHouse-Key": settings.clickhouse_password},
        timeout=60,
    )
    assert response.status_code == 200, response.text
    return response.text


def insert_lines(settings: ClickHouseSettings, table: str, lines: bytes) -> None:
    """JSON lines; keys are columns."""
    if lines:
        sql = f"INSERT INTO {table} SETTINGS date_time_input_format = 'best_effort' FORMAT JSONEachRow"
        send_sql(settings, sql, lines)
