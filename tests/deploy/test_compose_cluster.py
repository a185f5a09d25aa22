"""compose.cluster.yaml, the servers' configuration and the roles agree: names, macros, settings, rights."""

from typing import Any
from xml.etree import ElementTree

import yaml

from services.schema.roles import Role, grants_of
from tests.deploy.env_file import DEPLOY
from tests.support.compose import load_compose

CLUSTER = "headrace"
ONE: dict[str, Any] = load_compose()["services"]
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.cluster.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SERVERS = {name: one for name, one in SERVICES.items() if name.startswith("clickhouse")}


def xml(name: str) -> ElementTree.Element:
    return ElementTree.parse(DEPLOY / "clickhouse" / name).getroot()  # noqa: S314 (our own file)


def test_every_client_is_told_of_the_cluster() -> None:
    clients = {name for name, one in ONE.items() if "HEADRACE_CLICKHOUSE_URL" in one.get("environment", {})}
    assert clients == {"migrate", "admin", "edge", "worker", "query"}
    for name in clients:
        assert SERVICES[name]["environment"]["HEADRACE_CLICKHOUSE_CLUSTER"] == CLUSTER


def test_no_service_of_ours_is_told_the_secret_of_the_servers() -> None:
    """It says to a server who asks. deploy/.env, which has it, comes whole into each container that reads the file."""
    readers = {name for name, one in ONE.items() if one.get("env_file")}
    assert readers == {"migrate", "admin", "edge", "worker", "query", "console"}
    for name in readers:
        assert SERVICES[name]["environment"]["CLICKHOUSE_CLUSTER_SECRET"] == ""


def test_the_servers_are_those_of_the_configuration() -> None:
    shards = [
        [replica.findtext("host") for replica in shard.findall("replica")]
        for shard in xml("cluster.xml").findall(f"remote_servers/{CLUSTER}/shard")
    ]
    by_shard: dict[str, list[str]] = {}
    for name, server in SERVERS.items():
        by_shard.setdefault(server["environment"]["CLICKHOUSE_SHARD"], []).append(name)
        assert server.get("hostname", ONE["clickhouse"]["hostname"]) == name
    assert shards == list(by_shard.values())
    places = {
        (one["environment"]["CLICKHOUSE_SHARD"], one["environment"]["CLICKHOUSE_REPLICA"]) for one in SERVERS.values()
    }
    assert len(places) == len(SERVERS)
    assert {each.text for each in xml("cluster.xml").iter("internal_replication")} == {"true"}


def test_each_server_keeps_its_own_data() -> None:
    kept = [volume.split(":")[0] for one in SERVICES.values() for volume in one.get("volumes", ())]
    named = [name for name in kept if not name.startswith("./")]
    assert sorted(named) == sorted(COMPOSE["volumes"])
    for name in (name for name in kept if name.startswith("./")):
        assert (DEPLOY / name).is_file()


def test_migrations_wait_for_all_servers() -> None:
    waits = {*SERVICES["migrate"]["depends_on"], *ONE["migrate"]["depends_on"]}
    assert waits == set(SERVERS)


def test_users_have_the_rights_of_a_cluster_and_else_are_those_of_one_server() -> None:
    one, cluster = xml("users.xml"), xml("users-cluster.xml")
    for role in Role:
        granted = [each.text for each in cluster.findall(f"users/{role}/grants/query")]
        assert granted == [f"GRANT {grant}" for grant in grants_of(role, "headrace", CLUSTER)]
        for root in (one, cluster):
            grants = root.find(f"users/{role}/grants")
            assert grants is not None
            grants.clear()
    assert _shape(one) == _shape(cluster)


def _shape(element: ElementTree.Element) -> object:
    return element.tag, (element.text or "").strip(), sorted(element.attrib.items()), [_shape(each) for each in element]
