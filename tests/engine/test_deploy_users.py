"""deploy/clickhouse/users.xml, read by a ClickHouse: the same rights as in development, and its users' memory is bounded."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from services.devstack import clickhouse_server
from services.devstack.clickhouse_config import ServerConfig, passwords_of, write_config
from services.devstack.clickhouse_server import ClickHouseProcess
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate
from services.schema.roles import Role
from tests.deploy.env_file import DEPLOY
from tests.engine.test_roles import DENIED, FOR_NOBODY, MAY, STATEMENTS, TABLES, answer

MEMORY_BYTES = 300 * 2**20


def write_deployed_users(data_dir: Path, config: ServerConfig, passwords: Mapping[Role, str]) -> None:
    """Beside users.xml, which keeps the one user that a development server listens as."""
    write_config(data_dir, config, passwords)
    own = ElementTree.parse(data_dir / "config" / "users.xml")  # noqa: S314 (our own file)
    deployed = ElementTree.parse(DEPLOY / "clickhouse" / "users.xml")  # noqa: S314
    for role in Role:
        remove(own, "users", role)
    remove(own, "profiles", Role.QUERY)
    remove(deployed, "users", "default")
    own.write(data_dir / "config" / "users.xml")
    (data_dir / "config" / "users.d").mkdir(exist_ok=True)
    deployed.write(data_dir / "config" / "users.d" / "headrace.xml")


def remove(tree: "ElementTree.ElementTree[ElementTree.Element]", group: str, name: str) -> None:
    parent, child = tree.find(group), tree.find(f"{group}/{name}")
    assert parent is not None
    assert child is not None
    parent.remove(child)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Role, ClickHouseSettings]]:
    """The settings of each service, whose passwords the server has from its environment."""
    data_dir = tmp_path_factory.mktemp("clickhouse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clickhouse_server, "write_config", write_deployed_users)
        for role, password in passwords_of(data_dir).items():
            patch.setitem(clickhouse_server._ENVIRONMENT, f"{role.upper()}_CLICKHOUSE_PASSWORD", password)
        patch.setitem(clickhouse_server._ENVIRONMENT, "QUERY_CLICKHOUSE_MEMORY_BYTES", str(MEMORY_BYTES))
        with ClickHouseProcess(data_dir) as process:
            settings = {
                role: ClickHouseSettings(
                    clickhouse_url=process.url, clickhouse_user=role, clickhouse_password=process.password(role)
                )
                for role in Role
            }
            asyncio.run(migrate(settings[Role.ADMIN]))
            yield settings


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("right", STATEMENTS)
def test_rights_on_tables(deployed: dict[Role, ClickHouseSettings], role: Role, right: str) -> None:
    allowed = {table for table in TABLES if answer(deployed[role], STATEMENTS[right].format(table)).status_code == 200}
    assert allowed == MAY[role][right]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("statement", FOR_NOBODY)
def test_nobody_leaves_the_database(deployed: dict[Role, ClickHouseSettings], role: Role, statement: str) -> None:
    response = answer(deployed[role], statement.format(user=role))
    assert response.status_code != 200
    assert DENIED in response.text, response.text


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("password", ["", "x", "$ADMIN_CLICKHOUSE_PASSWORD"])
def test_nobody_gets_in_without_the_password(
    deployed: dict[Role, ClickHouseSettings], role: Role, password: str
) -> None:
    guess = deployed[role].model_copy(update={"clickhouse_password": password})
    assert "AUTHENTICATION_FAILED" in answer(guess, "SELECT 1").text


def test_the_memory_of_the_query_service_is_bounded(deployed: dict[Role, ClickHouseSettings]) -> None:
    heavy = f"SELECT length(groupArray(number)) FROM numbers({MEMORY_BYTES // 8})"
    refused = answer(deployed[Role.QUERY], heavy)
    assert refused.status_code != 200
    assert "MEMORY_LIMIT_EXCEEDED" in refused.text
    assert answer(deployed[Role.ADMIN], heavy).text.strip() == str(MEMORY_BYTES // 8)


def test_months_without_number_go_into_one_block(deployed: dict[Role, ClickHouseSettings]) -> None:
    setting = "SELECT value FROM system.settings WHERE name = 'max_partitions_per_insert_block'"
    assert answer(deployed[Role.ADMIN], setting).text.strip() == "1000"
