"""Edge, workers and query service as processes, on a Kafka with log-ins and ACLs and a ClickHouse behind TLS: rights
taken away and certificates that expire while they run lose nothing, and no log has a secret in it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from services.devstack.child_process import ChildProcess, free_port
from services.devstack.clickhouse_server import ClickHouseProcess
from services.devstack.stack import get_json
from services.operations.dead_letters import read_letters
from services.operations.partitions import use_partitions
from services.runtime.clickhouse import ClickHouse
from services.runtime.kafka_rights import Client, Operation
from services.runtime.kafka_topics import ensure_topics
from services.runtime.keys import Scope, create_key, new_key
from services.runtime.settings import ClickHouseSettings, KafkaSettings, WorkerSettings
from services.schema.migrate import migrate
from services.schema.roles import Role
from tests.support.clickhouse_rights import without_right
from tests.support.engine import send_sql
from tests.support.pipeline import eventually
from tests.support.secure_kafka import DOCUMENTED, PASSWORD, Acl, SecureKafka, token_server
from tests.support.tls_proxy import TlsProxy

PREFIX = "stack"
WRITES = Acl("edge", Operation.WRITE, "topic", f"{PREFIX}.events")
READS = Acl("worker", Operation.READ, "group", f"{PREFIX}-worker")


class Stack:
    """`kafka`: a user's settings for Kafka, by the process that has them."""

    def __init__(
        self, folder: Path, clickhouse: ClickHouseProcess, proxy: TlsProxy, kafka: Mapping[str, dict[str, str]]
    ) -> None:
        self.proxy = proxy
        self.key = new_key()
        self.ports = {name: free_port() for name in ("edge", "worker", "worker-2", "query")}
        self.secrets = [PASSWORD, self.key, "eyJ", *(clickhouse.password(role) for role in Role)]
        self.direct = ClickHouseSettings(
            clickhouse_url=clickhouse.url,
            clickhouse_user="admin",
            clickhouse_password=clickhouse.password(Role.ADMIN),
        )
        self._folder = folder
        self._clickhouse = clickhouse
        self._kafka = kafka
        self.processes = {name: self._process(name) for name in self.ports}

    def environment(self, name: str) -> dict[str, str]:
        service = name.partition("-")[0]
        certificate = self._folder / "client.pem"
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")},
            **{f"HEADRACE_KAFKA_{key.upper()}": value for key, value in self._kafka.get(name, {}).items()},
            f"HEADRACE_{service.upper()}_PORT": str(self.ports[name]),
            "HEADRACE_KAFKA_TOPIC_PREFIX": PREFIX,
            "HEADRACE_WORKER_SESSION_TIMEOUT_S": "6",
            "HEADRACE_WORKER_DRAIN_TIMEOUT_S": "5",
            "HEADRACE_EDGE_PUBLISH_TIMEOUT_S": "4",
            "HEADRACE_KEYS_REFRESH_S": "1",
            "HEADRACE_LOG_LEVEL": "debug",
            "HEADRACE_CLICKHOUSE_URL": self.proxy.url.replace("//", f"//{service}@"),
            "HEADRACE_CLICKHOUSE_PASSWORD": self._clickhouse.password(Role(service)),
            "HEADRACE_CLICKHOUSE_CA_FILE": str(self._folder / "ca.pem"),
            "HEADRACE_CLICKHOUSE_CERTIFICATE_FILE": str(certificate),
        }

    def _process(self, name: str) -> ChildProcess:
        command = [sys.executable, "-m", "services.cli", name.partition("-")[0]]
        return ChildProcess(name, command, log=self.log(name), env=self.environment(name), env_is_all=True)

    def without_right(self, role: Role, right: str) -> AbstractContextManager[None]:
        """In ClickHouse."""
        return without_right(self._clickhouse, role, right)

    def query(self) -> httpx.Response:
        """The events of all time."""
        return httpx.post(
            f"http://127.0.0.1:{self.ports['query']}/v1/analytics/query/events",
            headers={"authorization": f"Bearer {self.key}"},
            json={"since": "2026-01-01", "until": "2100-01-01", "limit": 1000},
            timeout=30,
        )

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def said(self, name: str, event: str) -> list[str]:
        """Reasons that a process has logged."""
        lines = [line for line in self.log(name).read_text().splitlines() if f'"event": "{event}"' in line]
        return [str(json.loads(line).get("reason")) for line in lines]

    def is_ready(self, name: str) -> bool:
        return get_json(self.ports[name], "/health/ready").get("ready") is True

    def send(self, first: int, count: int) -> httpx.Response:
        """Events with these numbers, with keys."""
        events = [
            {"event": "e", "distinct_id": f"u{n}", "idempotency_key": f"k{n}", "properties": {"n": n}}
            for n in range(first, first + count)
        ]
        return httpx.post(
            f"http://127.0.0.1:{self.ports['edge']}/v1/analytics/batch",
            headers={"authorization": f"Bearer {self.key}"},
            json={"events": events},
            timeout=30,
        )

    def stored(self) -> tuple[int, int]:
        """Rows, and different ones."""
        text = send_sql(self.direct, "SELECT count(), uniqExact(event_id) FROM events FINAL")
        rows, different = text.split()
        return int(rows), int(different)

    def check(self, name: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 the command is our own
            [sys.executable, "-m", "services.cli", "check", name.partition("-")[0]],
            env=self.environment(name) | {"COLUMNS": "200"} | changed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def stack(secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    authority = secure_kafka.authority
    (folder / "ca.pem").write_bytes(authority.file.read_bytes())
    (folder / "client.pem").write_bytes(authority.issue("client", common_name="client").both.read_bytes())
    server = authority.issue("clickhouse", "127.0.0.1")
    with (
        ClickHouseProcess(folder / "clickhouse") as clickhouse,
        TlsProxy(clickhouse.port, server, authority.file) as proxy,
        token_server() as (url, _),
    ):
        kafka = {
            "edge": secure_kafka.as_certificate("edge"),
            "worker": secure_kafka.as_user("worker"),
            "worker-2": secure_kafka.as_token("worker", url),
        }
        stack = Stack(folder, clickhouse, proxy, kafka)
        asyncio.run(_prepare(stack, secure_kafka))
        try:
            for process in stack.processes.values():
                process.start()
            for name, process in stack.processes.items():
                process.wait_until(lambda name=name: stack.is_ready(name), 60)  # type: ignore[misc]
            yield stack
        finally:
            for process in stack.processes.values():
                process.stop(20)


async def _prepare(stack: Stack, kafka: SecureKafka) -> None:
    root = KafkaSettings(kafka_bootstrap=kafka.bootstrap("PLAINTEXT"), kafka_topic_prefix=PREFIX, kafka_partitions=2)
    await ensure_topics(root, Client.EDGE)
    renamed = [
        Acl(acl.user, acl.operation, acl.kind, acl.name.replace("headrace", PREFIX), acl.pattern) for acl in DOCUMENTED
    ]
    await kafka.allow(*renamed)
    await migrate(stack.direct)
    store = await ClickHouse.connect(stack.direct)
    await create_key(store, stack.key, "shop", set(Scope))
    await store.close()


def test_events_come_through(stack: Stack) -> None:
    assert stack.send(0, 50).json() == {"ok": True, "accepted": 50}
    eventually(stack.stored, lambda stored: stored == (50, 50))
    assert len(stack.query().json()["events"]) == 50


def test_check_says_that_all_is_well_or_what_is_not(stack: Stack) -> None:
    for name in ("edge", "worker"):
        done = stack.check(name)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "wrong" not in done.stdout
        for what in ("rights in Kafka", "rights in ClickHouse", "clock of Kafka", "clock of ClickHouse", "tables"):
            assert what in done.stdout, done.stdout
    done = stack.check(
        "worker", HEADRACE_CLICKHOUSE_PASSWORD="wrong-sesame", HEADRACE_KAFKA_SASL_PASSWORD="other-sesame"
    )
    assert done.returncode == 1
    assert "HEADRACE_CLICKHOUSE_PASSWORD" in done.stdout
    assert "HEADRACE_KAFKA_SASL_PASSWORD" in done.stdout
    assert "sesame" not in done.stdout + done.stderr


async def test_the_commands_work_with_their_rights(stack: Stack, secure_kafka: SecureKafka) -> None:
    """Of what `check` has written to the dead letters, nothing is shown."""
    values = {f"kafka_{name}": value for name, value in secure_kafka.as_user("tools").items()}
    settings = WorkerSettings.model_validate({**values, "kafka_topic_prefix": PREFIX})
    assert [letter async for letter in read_letters(settings)] == []
    store = await ClickHouse.connect(stack.direct)
    try:
        assert (await use_partitions(store, settings, 2)).partitions == 2
    finally:
        await store.close()


def test_a_right_that_the_edge_loses(stack: Stack, secure_kafka: SecureKafka) -> None:
    asyncio.run(secure_kafka.take_away(WRITES))
    refused = stack.send(100, 20)
    assert refused.status_code == 503
    assert "TopicAuthorizationFailed" in refused.text
    eventually(
        lambda: stack.said("edge", "producer_not_renewed"), lambda said: any("kafka-acls.sh" in one for one in said)
    )
    asyncio.run(secure_kafka.allow(WRITES))
    eventually(lambda: stack.send(100, 20).status_code, lambda status: status == 200)
    eventually(stack.stored, lambda stored: stored == (70, 70))


def test_a_right_that_the_workers_lose(stack: Stack, secure_kafka: SecureKafka) -> None:
    """They end; whoever starts them again has them wait until the right is back. Events are accepted meanwhile."""
    asyncio.run(secure_kafka.take_away(READS))
    workers = [stack.processes[name] for name in ("worker", "worker-2")]
    eventually(lambda: [worker.poll() for worker in workers], lambda ended: all(ended), within_s=60)
    assert stack.send(200, 20).status_code == 200
    for worker in workers:
        worker.start()
    for name in ("worker", "worker-2"):
        (said,) = eventually(lambda name=name: stack.said(name, "not_ready_to_start"), lambda said: len(said) == 1)  # type: ignore[misc]
        assert f"Read on group {PREFIX}-worker" in said
        assert "kafka-acls.sh" in said
    asyncio.run(secure_kafka.allow(READS))
    eventually(stack.stored, lambda stored: stored == (90, 90), within_s=60)


def test_a_right_in_clickhouse_that_the_workers_lose(stack: Stack) -> None:
    """They try again until it is back. Events are accepted meanwhile."""
    with stack.without_right(Role.WORKER, "SELECT, INSERT ON headrace.events"):
        assert stack.send(220, 20).status_code == 200
        eventually(
            lambda: stack.said("worker", "store_failed") + stack.said("worker-2", "store_failed"),
            lambda said: any("headrace roles" in one for one in said),
        )
    eventually(stack.stored, lambda stored: stored == (110, 110), within_s=60)


def test_a_right_in_clickhouse_that_the_query_service_loses(stack: Stack) -> None:
    with stack.without_right(
        Role.QUERY, "SELECT, ALTER DELETE, ALTER ADD COLUMN, ALTER MATERIALIZE COLUMN ON headrace.events"
    ):
        refused = stack.query()
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "headrace roles" in stack.log("query").read_text()
    assert len(stack.query().json()["events"]) == 110


def test_a_right_in_clickhouse_that_the_edge_loses(stack: Stack) -> None:
    """It goes on with the keys that it knows."""
    before = stack.log("edge").read_text().count("headrace roles")
    with stack.without_right(Role.EDGE, "SELECT ON headrace.api_keys"):
        eventually(lambda: stack.log("edge").read_text().count("headrace roles"), lambda count: count > before)
        assert stack.send(240, 20).status_code == 200
    eventually(stack.stored, lambda stored: stored == (130, 130), within_s=60)


def test_a_certificate_of_clickhouse_that_expires(stack: Stack, secure_kafka: SecureKafka) -> None:
    authority = secure_kafka.authority
    stack.proxy.serve(authority.issue("clickhouse-old", "127.0.0.1", expired=True))
    assert stack.send(300, 20).status_code == 200
    for name in ("worker", "worker-2"):
        assert stack.is_ready(name) is False
    eventually(
        lambda: stack.said("worker", "store_failed") + stack.said("worker-2", "store_failed"),
        lambda said: any("the server's certificate has expired" in one for one in said),
    )
    stack.proxy.serve(authority.issue("clickhouse", "127.0.0.1"))
    eventually(stack.stored, lambda stored: stored == (150, 150), within_s=60)


def test_a_certificate_of_the_edge_that_is_replaced(stack: Stack, secure_kafka: SecureKafka) -> None:
    """By one that nobody knows, and by a good one: both count from the next connection, without a restart."""
    secure_kafka.strangers.issue("edge", common_name="edge")  # writes the same files
    secure_kafka.node.kill()
    secure_kafka.node.start()
    eventually(lambda: stack.is_ready("edge"), lambda ready: not ready)
    eventually(
        lambda: [*stack.said("edge", "kafka_unreachable"), str(stack.is_ready("edge"))],
        lambda said: any("HEADRACE_KAFKA_CERTIFICATE_FILE" in one for one in said),
    )
    assert stack.send(400, 20).status_code == 503
    secure_kafka.authority.issue("edge", common_name="edge")
    eventually(lambda: stack.send(400, 20).status_code, lambda status: status == 200, within_s=30)
    eventually(stack.stored, lambda stored: stored == (170, 170), within_s=60)


def test_no_log_has_a_secret(stack: Stack) -> None:
    """At `debug`, where libraries say the most. Last of this file: all has been logged."""
    for name in stack.ports:
        text = stack.log(name).read_text()
        assert '"level": "debug"' in text, name
        found = [secret[:6] for secret in stack.secrets if secret in text]
        assert not found, f"{name}: {found}"
