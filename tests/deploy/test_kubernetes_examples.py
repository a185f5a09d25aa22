"""The examples of Kafka and ClickHouse are what the services need: rights, users, replicas, names."""

import re
from xml.etree import ElementTree

from tests.deploy.env_file import DEPLOY
from tests.support.manifests import OVERLAYS, container, environment, examples, named, of_kind, pod
from tests.support.operator_files import EXAMPLE, FILES, with_files
from tests.support.secure_kafka import DOCUMENTED

KAFKA = named(examples(), "Kafka", "headrace")
CLICKHOUSE = named(examples(), "ClickHouseInstallation", "headrace")
_CREATE = ("edge", "Create", "topic", "headrace.", "prefix")


def test_users_have_the_documented_rights_and_no_others() -> None:
    wanted = {(acl.user, str(acl.operation), acl.kind, acl.name, "literal") for acl in DOCUMENTED}
    given = {
        (
            user["metadata"]["name"],
            operation,
            acl["resource"]["type"],
            acl["resource"]["name"],
            acl["resource"]["patternType"],
        )
        for user in of_kind(examples(), "KafkaUser")
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }
    of_keda = {one for one in given if one[0] == "keda"}
    assert {one[1] for one in of_keda} == {"Describe"}
    assert given - of_keda - {_CREATE} == wanted


def test_the_log_keeps_what_is_acknowledged() -> None:
    config = KAFKA["spec"]["kafka"]["config"]
    (pool,) = of_kind(examples(), "KafkaNodePool")
    values = environment("production", "edge")
    assert pool["spec"]["replicas"] >= config["default.replication.factor"] == int(values["HEADRACE_KAFKA_REPLICATION"])
    assert config["min.insync.replicas"] == int(values["HEADRACE_KAFKA_MIN_INSYNC_REPLICAS"]) == 2
    assert config["offsets.topic.replication.factor"] == 3
    assert config["unclean.leader.election.enable"] is False
    assert config["auto.create.topics.enable"] is False
    # Longer than any retention of the topics: a group that was stopped finds its place.
    assert config["offsets.retention.minutes"] / 60 > int(values.get("HEADRACE_KAFKA_RETENTION_HOURS", 168))
    assert all(volume["deleteClaim"] is False for volume in pool["spec"]["storage"]["volumes"])


def test_kafka_is_the_version_that_development_runs() -> None:
    pom = ElementTree.parse(DEPLOY / "kafka" / "pom.xml")  # noqa: S314 (our own file)
    assert KAFKA["spec"]["kafka"]["version"] == pom.findtext(".//{*}kafka.version")


def test_services_find_what_the_operators_make() -> None:
    (listener,) = KAFKA["spec"]["kafka"]["listeners"]
    for overlay in OVERLAYS:
        values = environment(overlay, "worker")
        assert values["HEADRACE_KAFKA_BOOTSTRAP"] == f"{KAFKA['metadata']['name']}-kafka-bootstrap:{listener['port']}"
        assert values["HEADRACE_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
        assert values["HEADRACE_KAFKA_SASL_MECHANISM"].lower() == listener["authentication"]["type"]
        assert values["HEADRACE_CLICKHOUSE_URL"] == f"http://clickhouse-{CLICKHOUSE['metadata']['name']}:8123"
        for component in ("edge", "worker", "query", "admin"):
            user = environment(overlay, component)["HEADRACE_KAFKA_SASL_USERNAME"]
            named(examples(), "KafkaUser", user)
            secrets = {one["secret"]["secretName"] for one in pod(overlay, component)["volumes"] if "secret" in one}
            assert {user, "headrace-cluster-ca-cert"} <= secrets


def test_clickhouse_has_the_files_of_deploy_clickhouse() -> None:
    files = CLICKHOUSE["spec"]["configuration"]["files"]
    for name, source in FILES.items():
        assert files[name] == (DEPLOY / "clickhouse" / source).read_text(), "run `make docs`"


def test_make_docs_writes_them() -> None:
    as_it_is = EXAMPLE.read_text()
    assert with_files(as_it_is) == as_it_is
    assert with_files(as_it_is.replace("GRANT SELECT ON headrace.api_keys", "GRANT ALL")) == as_it_is


def test_clickhouse_is_the_one_of_compose_and_knows_the_passwords() -> None:
    (template,) = CLICKHOUSE["spec"]["templates"]["podTemplates"]
    (server,) = template["spec"]["containers"]
    assert server["image"] in (DEPLOY / "compose.yaml").read_text()
    read = set(re.findall(r'from_env="(\w+)"', (DEPLOY / "clickhouse" / "users.xml").read_text()))
    given = {variable["name"]: variable for variable in server["env"]}
    assert set(given) == read
    for component in ("edge", "worker", "query", "admin"):
        secret = given[f"{component.upper()}_CLICKHOUSE_PASSWORD"]["valueFrom"]["secretKeyRef"]
        mounts = {volume["secret"]["secretName"] for volume in pod("small", component)["volumes"] if "secret" in volume}
        assert secret["name"] in mounts
        path = environment("small", component)["HEADRACE_CLICKHOUSE_PASSWORD_FILE"]
        assert path.endswith(f"/{secret['key']}")
        assert path.rpartition("/")[0] in {
            mount["mountPath"] for mount in container("small", component)["volumeMounts"]
        }


def test_tables_that_the_operator_gives_an_engine_are_taken_out_before_ours_give_them_a_ttl() -> None:
    """ClickHouse does not start where a table has both. Its files are read in the order of their names."""
    files = CLICKHOUSE["spec"]["configuration"]["files"]
    removed, ours = (ElementTree.fromstring(files[f"config.d/{name}"]) for name in ("02-headrace.xml", "headrace.xml"))  # noqa: S314
    of_the_operator = {"query_log", "part_log", "trace_log"}
    taken_out = {each.tag for each in (*removed, *ours) if "remove" in each.attrib}
    assert of_the_operator <= taken_out
    with_ttl = {each.tag for each in ours if each.find("ttl") is not None}
    assert with_ttl & of_the_operator <= {each.tag for each in removed}
    assert "01-clickhouse-05-trace_log.xml" < "02-headrace.xml" < "headrace.xml"
