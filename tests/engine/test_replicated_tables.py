"""What `headrace migrate` runs on a cluster, on real engines that know a real ZooKeeper: tables, paths and names.

The engine of the wheel runs no ON CLUSTER and has no port for replication. So the test says each statement to each server,
as ON CLUSTER would; the replicas find each other, and stay without rows.
"""

import re
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest

from services.contract.tables import EVENTS, SHARDED, WHOLE
from services.devstack.clickhouse_server import ClickHouseProcess
from services.runtime.clickhouse import ClickHouse
from services.runtime.cluster import own_table
from services.runtime.settings import ClickHouseSettings
from services.schema.files import load_migrations, whole_table_engine
from services.schema.roles import Role
from services.schema.topology import read_topology, reasons_after, reasons_against
from tests.support.cluster import CLUSTER, new_nodes
from tests.support.engine import send_sql
from tests.support.zookeeper import ZooKeeper, missing_because

REPLICAS = [2, 1]


def settings_of(node: ClickHouseProcess) -> ClickHouseSettings:
    return ClickHouseSettings(
        clickhouse_url=node.url,
        clickhouse_user=Role.ADMIN.value,
        clickhouse_password=node.password(Role.ADMIN),
    )


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClickHouseProcess]]:
    if reason := missing_because():
        pytest.skip(reason)
    data_dir = tmp_path_factory.mktemp("replicated")
    with ZooKeeper(data_dir / "zookeeper") as zookeeper:
        nodes = new_nodes(data_dir, ("headrace",), REPLICAS, keeper_port=zookeeper.port)
        try:
            for node in nodes:
                node.launch()
            for node in nodes:
                node.child.wait_until(node.answers, 30)
            for node in nodes:
                send_sql(settings_of(node), "CREATE DATABASE headrace", database="default")
                for statement in definitions():
                    send_sql(settings_of(node), statement)
            yield nodes
        finally:
            for node in nodes:
                node.kill()


def definitions() -> list[str]:
    """All that makes a table. ON CLUSTER gives a table the same UUID everywhere."""
    made = [s for migration in load_migrations(CLUSTER) for s in migration.statements if s.startswith("CREATE")]
    made.append(
        f"CREATE TABLE IF NOT EXISTS schema_migrations ON CLUSTER '{CLUSTER}' (name String, checksum String) "
        f"ENGINE = {whole_table_engine(CLUSTER)} ORDER BY name"
    )
    own = own_table(EVENTS, CLUSTER)
    shown = (
        f"CREATE TABLE {EVENTS} AS {own} ENGINE = Distributed('{CLUSTER}', 'headrace', '{own}', sipHash64(event_id))"
    )
    return [*[_on_one(statement) for statement in made], shown]


def _on_one(statement: str) -> str:
    assert f"ON CLUSTER '{CLUSTER}'" in statement

    def with_uuid(match: re.Match[str]) -> str:
        return f"CREATE TABLE {match[1]} UUID '{uuid.uuid5(uuid.NAMESPACE_OID, match[1])}'"

    return re.sub(r"CREATE TABLE IF NOT EXISTS (\w+)", with_uuid, statement.replace(f"ON CLUSTER '{CLUSTER}'", ""))


def test_tables_of_shards_have_a_path_a_shard_and_all_others_one(nodes: list[ClickHouseProcess]) -> None:
    found: Counter[tuple[str, str]] = Counter()
    names = set()
    for node in nodes:
        sql = "SELECT table, zookeeper_path, replica_name FROM system.replicas WHERE database = 'headrace'"
        for line in send_sql(settings_of(node), sql).splitlines():
            table, path, name = line.split("\t")
            found[table, path] += 1
            names.add((path, name))
    by_table: dict[str, list[int]] = {}
    for (table, _), count in found.items():
        by_table.setdefault(table, []).append(count)
    assert {table: sorted(counts) for table, counts in by_table.items()} == {
        **{own_table(table, CLUSTER): sorted(REPLICAS) for table in SHARDED},
        **{table: [sum(REPLICAS)] for table in WHOLE},
    }
    # No two replicas of a path have one name, else the second would not have been made.
    assert len(names) == sum(found.values())


async def test_the_topology_is_the_one_that_services_want(nodes: list[ClickHouseProcess]) -> None:
    store = ClickHouse(settings_of(nodes[0]))
    topology = await read_topology(store, CLUSTER, "headrace")
    await store.close()
    assert list(reasons_against(topology)) == []
    assert [len(of_shard) for of_shard in topology.of_shards().values()] == REPLICAS
    # These engines have no port for replication: that is what they are refused for, and nothing else.
    assert {reason.split(" is ")[1][:9] for reason in reasons_after(topology)} <= {"read only"}
    in_keeper = {table: count for node in topology.nodes for table, _, _, count in node.copies}
    assert in_keeper["person_ids"] in (0, sum(REPLICAS))


def test_a_definition_is_good_for_another_server(nodes: list[ClickHouseProcess]) -> None:
    """`headrace migrate` gives servers that come later the definitions of those that are there: macros are in them as such."""
    for table, path in (
        ("events_local", "{uuid}/{shard}', '{replica}'"),
        ("person_ids", "{uuid}', '{shard}_{replica}'"),
    ):
        assert f"/clickhouse/tables/{path}" in send_sql(
            settings_of(nodes[0]), f"SHOW CREATE TABLE {table} FORMAT TSVRaw"
        )
