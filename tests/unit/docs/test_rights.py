"""The pages of rights say what the code asks for."""

import re
import subprocess

from services.runtime.kafka_rights import Client, Operation, Right, rights_of
from services.runtime.kafka_topics import topic_configs, wanted_topics
from services.runtime.settings import KafkaSettings, WorkerSettings
from services.schema.roles import Role, grants_of
from tests.deploy.env_file import ROOT
from tests.support.secure_kafka import Acl, documented_acls

KAFKA = (ROOT / "docs" / "how-to" / "kafka-acls.md").read_text()
CLICKHOUSE = (ROOT / "docs" / "how-to" / "clickhouse-rights.md").read_text()


def test_acls_of_kafka() -> None:
    documented = {acl for acl in documented_acls(KAFKA) if acl.operation is not Operation.CREATE}
    needed = {
        Acl(client.value, right.operation, right.kind, right.name)
        for client in Client
        for right in rights_of(client, KafkaSettings(), WorkerSettings().group)
    }
    assert documented == needed
    assert Right("topic", "headrace.events", Operation.READ) in rights_of(Client.WORKER, KafkaSettings(), "g")


def test_topics_of_kafka() -> None:
    """The block as a shell runs it."""
    settings = KafkaSettings(kafka_replication=3, kafka_min_insync_replicas=2)
    (block,) = re.findall(r"```sh\n(REPLICATION=.*?)```", KAFKA, re.DOTALL)
    script = 'kafka-topics.sh() { echo "$@"; }\n' + block
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)  # noqa: S603, S607
    of_topics = {re.findall(r"--topic (\S+)", line)[0]: line for line in done.stdout.splitlines()}
    assert set(of_topics) == set(wanted_topics(settings))
    for topic, line in of_topics.items():
        assert dict(re.findall(r"--config (\S+)=(\S+)", line)) == topic_configs(settings, topic)
        assert f"--partitions {wanted_topics(settings)[topic]}" in line
        assert "--replication-factor 3" in line


def test_rights_in_clickhouse() -> None:
    documented: dict[str, set[str]] = {}
    for service, tables, rights in re.findall(r"^\| (\w+) \| (`.*?) \| (`.*?) \|$", CLICKHOUSE, re.MULTILINE):
        for table in re.findall(r"`([\w.]+)`", tables):
            place = table if "." in table else f"headrace.{table}"
            documented.setdefault(service, set()).add(f"{', '.join(re.findall(r'`([A-Z ]+)`', rights))} ON {place}")
    assert documented == {role: set(grants_of(role, "headrace")) for role in (Role.EDGE, Role.WORKER, Role.QUERY)}


def test_rights_on_a_cluster() -> None:
    section = CLICKHOUSE.split("## On a cluster")[1].split("## Connect")[0]
    documented = {
        service: set(re.findall(r"`([^`]+)`", rights))
        for service, rights in re.findall(r"^\| (worker|query) \| (.*) \|$", section, re.MULTILINE)
    }
    for role in (Role.WORKER, Role.QUERY):
        more = set(grants_of(role, "headrace", "shop")) - set(grants_of(role, "headrace"))
        of_events = {grant for grant in more if grant.endswith(" ON headrace.events_local")}
        assert len(of_events) == 1
        assert documented[role] == more - of_events
    assert grants_of(Role.EDGE, "headrace", "shop") == grants_of(Role.EDGE, "headrace")
