"""The pods of deploy/kubernetes as processes, on a Kafka with log-ins and a ClickHouse with users: they get ready, they
end within their grace periods, and while all of them are replaced nothing is refused, lost or stored twice."""

import asyncio
import re
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from services.devstack.clickhouse_server import ClickHouseProcess
from services.runtime import settings
from services.runtime.kafka_rights import Operation
from services.runtime.settings import ClickHouseSettings
from services.schema.roles import Role
from tests.support.engine import send_sql
from tests.support.pipeline import eventually
from tests.support.pods import ENDPOINT_DELAY_S, Pod
from tests.support.secure_kafka import DOCUMENTED, PASSWORD, Acl, SecureKafka

OVERLAY, PREFIX = "small", "pods"
_PREFIXED = 4
# A service that this version may not have yet.
HAS_CONSOLE = hasattr(settings, "ConsoleSettings")
OF_THE_CONSOLE = set() if HAS_CONSOLE else {"HEADRACE_CONSOLE_API_URL", "HEADRACE_CONSOLE_COOKIE_SECURE"}
_BATCH = 20


class Cluster:
    """What an overlay describes. `service` of the edges: those that a Service would send to."""

    def __init__(self, folder: Path, clickhouse: ClickHouseProcess, kafka: SecureKafka) -> None:
        self._folder = folder
        ca = kafka.authority.file.read_text()
        self._secrets = {
            **{f"headrace-{role}": {"clickhouse-password": clickhouse.password(role) + "\n"} for role in Role},
            "headrace-console": {"console-secret": secrets.token_hex(24)},
            **{user: {"password": PASSWORD, "sasl.jaas.config": "x"} for user in ("edge", "worker", "query", "tools")},
            "headrace-cluster-ca-cert": {"ca.crt": ca, "ca.p12": "x"},
        }
        # All that is not a cluster's here; one broker has one replica.
        self.addresses = {
            "HEADRACE_KAFKA_BOOTSTRAP": kafka.bootstrap("SASL_SSL"),
            "HEADRACE_CLICKHOUSE_URL": clickhouse.url,
            "HEADRACE_KAFKA_TOPIC_PREFIX": PREFIX,
            "HEADRACE_KAFKA_REPLICATION": "1",
            "HEADRACE_KAFKA_MIN_INSYNC_REPLICAS": "1",
        }
        self.direct = ClickHouseSettings(
            clickhouse_url=clickhouse.url, clickhouse_user="admin", clickhouse_password=clickhouse.password(Role.ADMIN)
        )
        self.pods: list[Pod] = []
        self.service: list[Pod] = []
        self.key = ""

    def pod(self, component: str, name: str) -> Pod:
        return Pod(OVERLAY, component, name, self._folder, self._secrets, self.addresses)

    def start(self, *names: str) -> list[Pod]:
        """They start beside each other; returns when all are ready."""
        started = [self.pod(name.split("-")[1], name) for name in names]
        for one in started:
            one.process.start()
            self.pods.append(one)
        for one in started:
            one.until_ready()
        return started

    def check_run(self, *pods: Pod) -> None:
        """None of them has ended by itself."""
        for one in pods:
            one.check_runs()

    def stored(self) -> tuple[int, int]:
        """Rows, and different ones."""
        rows, different = send_sql(self.direct, "SELECT count(), uniqExact(event_id) FROM events FINAL").split()
        return int(rows), int(different)

    def ids_loaded(self, one: Pod) -> int:
        """How often a worker has taken partitions."""
        return one.process.log.read_text().count('"event": "ids_loaded"')


class Load(threading.Thread):
    """Batches to the Service, each over a connection of its own, until it is told to end."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self._cluster, self._ending = cluster, threading.Event()
        self.accepted = 0
        self.refused: list[str] = []

    def run(self) -> None:
        number = 0
        while not self._ending.wait(0.02):
            pods = list(self._cluster.service)
            number += 1
            try:
                self._send(pods[number % len(pods)], number)
            except httpx.HTTPError as error:
                self.refused.append(f"{pods[number % len(pods)].name}: {error!r}")

    def _send(self, edge: Pod, number: int) -> None:
        events = [{"event": "e", "distinct_id": f"u{n}", "idempotency_key": f"{number}-{n}"} for n in range(_BATCH)]
        answer = httpx.post(
            f"http://127.0.0.1:{edge.port}/v1/analytics/batch",
            headers={"authorization": f"Bearer {self._cluster.key}"},
            json={"events": events},
            timeout=30,
        )
        if answer.status_code == 200:
            self.accepted += answer.json()["accepted"]
        else:
            self.refused.append(f"{edge.name}: {answer.status_code} {answer.text}")

    def end(self) -> None:
        self._ending.set()
        self.join()


@pytest.fixture(scope="module")
def cluster(secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("pods")
    renamed = [
        Acl(acl.user, acl.operation, acl.kind, acl.name.replace("headrace", PREFIX), acl.pattern) for acl in DOCUMENTED
    ]
    asyncio.run(secure_kafka.allow(*renamed, Acl("edge", Operation.CREATE, "topic", f"{PREFIX}.", _PREFIXED)))
    with ClickHouseProcess(folder / "clickhouse") as clickhouse:
        cluster = Cluster(folder, clickhouse, secure_kafka)
        try:
            yield cluster
        finally:
            for one in cluster.pods:
                one.process.kill()


def test_the_job_makes_the_tables_and_the_admin_s_pod_a_key(cluster: Cluster) -> None:
    migrated = cluster.pod("migrate", "headrace-migrate").run()
    assert migrated.returncode == 0, migrated.stderr
    made = cluster.pod("admin", "headrace-admin").run("keys", "create", "--project", "shop")
    assert made.returncode == 0, made.stderr
    cluster.key = next(word for word in made.stdout.split() if word.startswith("hr_"))


def test_all_are_ready_and_no_setting_is_unknown(cluster: Cluster) -> None:
    started = cluster.start(
        "headrace-edge-a", "headrace-edge-b", "headrace-worker-0", "headrace-worker-1", "headrace-query-a"
    )
    cluster.service = started[:2]
    if HAS_CONSOLE:
        cluster.addresses["HEADRACE_CONSOLE_API_URL"] = f"http://127.0.0.1:{started[0].port}"
        started += cluster.start("headrace-console-a")
    for one in started:
        assert one.answers("livenessProbe")
        log = one.process.log.read_text()
        assert [
            name for name in re.findall(r'"variable": "(\w+)".*"unknown_setting"', log) if name not in OF_THE_CONSOLE
        ] == []


def test_nothing_is_refused_or_lost_while_all_are_replaced(cluster: Cluster) -> None:
    edge_a, edge_b, worker_0, worker_1, query_a = cluster.pods[:5]
    load = Load(cluster)
    load.start()
    eventually(lambda: load.accepted, lambda accepted: accepted > 200)
    taken = cluster.ids_loaded(worker_1)
    with ThreadPoolExecutor() as each:
        # As a Deployment does it: one more, then one less.
        (edge_c,) = cluster.start("headrace-edge-c")
        cluster.service = [edge_a, edge_b, edge_c]
        ends = [each.submit(one.end) for one in (edge_a, worker_0, query_a)]
        time.sleep(ENDPOINT_DELAY_S)
        cluster.service = [edge_b, edge_c]
        took = [end.result() for end in ends]
    (worker_0,) = cluster.start("headrace-worker-0")
    eventually(lambda: load.accepted, lambda accepted: accepted > 1000)
    load.end()

    def stored() -> tuple[int, int]:
        # Whoever has ended by itself says why, and not that its partitions are late.
        cluster.check_run(edge_b, edge_c, worker_0, worker_1)
        return cluster.stored()

    eventually(stored, lambda rows: rows == (load.accepted, load.accepted), within_s=60)
    assert load.refused == []
    assert all(seconds < 45 for seconds in took)
    # The other worker has kept its partitions, and taken none: that is what a name of one's own is for.
    assert cluster.ids_loaded(worker_1) == taken


def test_memory_stays_below_the_limits(cluster: Cluster) -> None:
    running = [one for one in cluster.pods if one.peak_bytes == 0]
    cluster.check_run(*running)
    with ThreadPoolExecutor() as each:
        list(each.map(Pod.end, running))
    for one in cluster.pods:
        assert 0 < one.peak_bytes < one.limit_bytes, one.name
