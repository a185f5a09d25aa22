"""The broker and the engine that everything is measured on, and pipelines on them: topics, a database, services."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from aiokafka.admin import AIOKafkaAdminClient

from services.devstack.apache_kafka import Quorum, Voter
from services.devstack.broker import ApacheKafka, Broker, EmbeddedBroker, KafkaUnavailableError, find_kafka_jars
from services.devstack.child_process import ChildProcess, free_port
from services.devstack.clickhouse_server import ClickHouseProcess
from services.runtime.clickhouse import ClickHouse
from services.runtime.kafka_rights import Client
from services.runtime.kafka_topics import ensure_topics
from services.runtime.keys import Scope, create_key, new_key
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.schema.migrate import migrate
from services.schema.roles import Role
from tests.bench.processes import pin, two_cores

PROJECT = "bench"
PROBES = "probes"
ROOT = Path(__file__).resolve().parents[2]
_READY_S = 90
# One a pipeline. The services' users have rights on these and no others.
_DATABASES = tuple(f"bench_{number}" for number in range(100))
# Minutes are too short for Java's second compiler: it costs as much as all of the broker's work, and never gets it back.
# The heap has its size from the beginning, as Kafka's documentation has it; else its growth is no more than a decision of Java's.
_JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-Xms512m", "-XX:+AlwaysPreTouch")
# A run of some minutes must not fill the disk: the oldest gigabytes of a partition go.
BROKER_SETTINGS = {
    "log.retention.bytes": str(2 * 1024**3),
    "log.segment.bytes": str(256 * 1024**2),
    "log.retention.check.interval.ms": "5000",
    "log.segment.delete.delay.ms": "1000",
}
# One for all, in all threads: to make a client takes 30 CPU ms, which would be taken from what is measured.
_HTTP = httpx.Client()


class Stack:
    """A context manager: one broker, one engine, a scratch folder; all of it gone afterwards."""

    broker: Broker
    clickhouse: ClickHouseProcess

    def __init__(self) -> None:
        self.cores = two_cores()
        self.scratch = Path(tempfile.mkdtemp(prefix="headrace-bench-"))
        self.databases = iter(_DATABASES)
        self.notes: list[str] = []
        self.broker_kind = "Apache Kafka, one KRaft node, acks=all"

    def __enter__(self) -> Self:
        try:
            self.broker = self._make_broker().start()
            self.clickhouse = ClickHouseProcess(self.scratch / "clickhouse", databases=_DATABASES).start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in ("clickhouse", "broker"):
            process = getattr(self, name, None)
            if process is not None:
                process.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _make_broker(self) -> Broker:
        try:
            quorum = Quorum([Voter(1, free_port())], settings=BROKER_SETTINGS)
            return ApacheKafka(self.scratch / "kafka", find_kafka_jars(), quorum=quorum, java_options=_JAVA_OPTIONS)
        except KafkaUnavailableError as error:
            self.broker_kind = "embedded broker (in memory)"
            self.notes.append(f"No Apache Kafka here ({error}): all figures are on the embedded broker, in memory.")
            return EmbeddedBroker(self.scratch / "broker.log")

    @property
    def pids(self) -> dict[str, int]:
        return {"kafka": self.broker.child.pid, "clickhouse": self.clickhouse.pid}

    @property
    def engine_version(self) -> str:
        return self.sql("SELECT version()", "default")

    def sql(self, sql: str, database: str) -> str:
        """One statement in plain HTTP, as the administrator; the answer's text."""
        answer = _HTTP.post(
            self.clickhouse.url,
            params={"query": sql, "database": database},
            auth=(Role.ADMIN.value, self.clickhouse.password(Role.ADMIN)),
            timeout=600,
        )
        if answer.status_code != 200:
            raise RuntimeError(f"ClickHouse: {answer.text[:500]}")
        return answer.text.strip()

    def share_cores(self) -> None:
        """Broker and engine on both cores: for everything end to end."""
        for pid in self.pids.values():
            pin(pid, set(self.cores))

    def use_second_core(self) -> None:
        """Broker and engine leave the first core to what is measured."""
        for pid in self.pids.values():
            pin(pid, {self.cores[1]})

    def pipeline(self, name: str, partitions: int = 8) -> "Pipeline":
        return Pipeline(self, f"{name}_{uuid.uuid4().hex[:6]}", partitions)


class Pipeline:
    """Topics and a database of its own, and the processes that were started on them. A context manager."""

    def __init__(self, stack: Stack, name: str, partitions: int) -> None:
        self.stack = stack
        self.name = name
        self.partitions = partitions
        self.key = new_key()
        self.probe_key = new_key()
        self.events_topic = f"{name}.events"
        self.children: dict[str, ChildProcess] = {}
        self.ports: dict[str, int] = {}
        self.kafka = KafkaSettings(
            kafka_bootstrap=stack.broker.bootstrap,
            kafka_topic_prefix=name,
            kafka_partitions=partitions,
            kafka_idempotence=stack.broker.idempotent_producer,
        )
        self.database = next(stack.databases)
        self.clickhouse = ClickHouseSettings(
            clickhouse_url=stack.clickhouse.url,
            clickhouse_database=self.database,
            clickhouse_user=Role.ADMIN.value,
            clickhouse_password=stack.clickhouse.password(Role.ADMIN),
        )

    def __enter__(self) -> Self:
        asyncio.run(self._prepare())
        return self

    async def _prepare(self) -> None:
        await ensure_topics(self.kafka, Client.EDGE)
        await migrate(self.clickhouse)
        store = await ClickHouse.connect(self.clickhouse)
        await create_key(store, self.key, PROJECT, {Scope.INGEST, Scope.QUERY})
        await create_key(store, self.probe_key, PROBES, {Scope.INGEST})
        await store.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self.children):
            self.stop(name)
        with contextlib.suppress(Exception):
            asyncio.run(self._drop())

    async def _drop(self) -> None:
        self.sql(f"DROP DATABASE {self.database} SYNC", database="default")
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.kafka_bootstrap)
        await admin.start()
        try:
            topics = [t for t in await admin.list_topics() if self.name in t]
            await admin.delete_topics(topics)
        finally:
            await admin.close()

    @property
    def env(self) -> dict[str, str]:
        """What the services' settings read. Whoever is not told otherwise works as the worker's user."""
        settings = {**self.kafka.model_dump(), **self.clickhouse.model_dump(), "log_level": "warning"}
        settings["worker_group"] = f"{self.name}-worker"
        environment = {f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items()}
        return environment | self.stack.clickhouse.environment(Role.WORKER)

    @property
    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self.children.items()}

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cores: set[int] | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> ChildProcess:
        """A process of this pipeline, on some cores, once `ready` says so."""
        child = ChildProcess(
            name, command, log=self.stack.scratch / f"{self.name}-{name}.log", env={**self.env, **(env or {})}
        )
        child.start()
        self.children[name] = child
        pin(child.pid, cores or set(self.stack.cores))
        if ready is not None:
            child.wait_until(ready, _READY_S)
        return child

    def services_command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "services.cli", *arguments]

    def start_module(self, name: str, module: str, *, port: int, cores: set[int] | None = None) -> ChildProcess:
        """A server of the benchmark's own that answers /health/live at `port`."""
        self.ports[name] = port
        return self.start(
            name,
            [sys.executable, "-m", module],
            env={"BENCH_PORT": str(port), "BENCH_TOPIC": self.events_topic, "BENCH_KEY": self.key},
            cores=cores,
            ready=lambda: answers(port, "/health/live"),
        )

    def start_edge(
        self, *, cores: set[int] | None = None, name: str = "edge", command: Sequence[str] | None = None
    ) -> int:
        """The edge on a free port, which is returned; it is ready."""
        port = self.ports[name] = free_port()
        self.start(
            name,
            command or self.services_command("edge"),
            env={"HEADRACE_EDGE_PORT": str(port), **self.stack.clickhouse.environment(Role.EDGE)},
            cores=cores,
            ready=lambda: answers(port, "/health/ready"),
        )
        return port

    def start_worker(
        self,
        *,
        cores: set[int] | None = None,
        name: str = "worker",
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """A worker; does not wait for its assignment, so that nothing of what it does is missed."""
        port = self.ports[name] = free_port()
        command = command or self.services_command("worker")
        self.start(name, command, env={"HEADRACE_WORKER_PORT": str(port), **(env or {})}, cores=cores)
        return port

    def stop(self, name: str) -> None:
        self.children.pop(name).stop()

    def metric(self, process: str, name: str) -> float:
        """The sum of a metric's samples; 0 while the process does not answer."""
        return self.metrics(process, name)[0]

    def metrics(self, process: str, *names: str) -> list[float]:
        """For each name the sum of the samples that begin with it (a name with some labels, or several names)."""
        try:
            lines = _HTTP.get(f"http://127.0.0.1:{self.ports[process]}/metrics", timeout=10).text.splitlines()
        except httpx.HTTPError:
            return [0.0] * len(names)
        return [sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)) for name in names]

    def sql(self, sql: str, database: str | None = None) -> str:
        """One statement in plain HTTP; the answer's text."""
        return self.stack.sql(sql, database or self.database)

    def stored(self) -> int:
        """Different events that are stored; what a reader sees."""
        return int(self.sql(f"SELECT count() FROM events FINAL WHERE project_id = '{PROJECT}'"))

    def stored_rows(self) -> int:
        """As `stored`, but cheap: rows, merged or not."""
        return int(self.sql(f"SELECT count() FROM events WHERE project_id = '{PROJECT}'"))

    def wait_until_stored(self, events: int, timeout_s: float) -> float:
        """Blocks until so many rows are there; the seconds that it took. Raises RuntimeError when they do not come."""
        started = time.monotonic()
        while (rows := self.stored_rows()) < events:
            self.check_alive()
            if time.monotonic() - started > timeout_s:
                raise RuntimeError(f"{rows} of {events} events were stored after {timeout_s:g} s")
            time.sleep(0.1)
        return time.monotonic() - started

    def wait_for_merges(self, timeout_s: float) -> None:
        """Until ClickHouse has merged what the runs before have left, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while self.sql("SELECT count() FROM system.merges") != "0" and time.monotonic() < deadline:
            time.sleep(0.5)

    def check_alive(self) -> None:
        """Raises RuntimeError with the end of its log when a process of this pipeline has ended."""
        for name, child in self.children.items():
            if child.poll() is not None:
                raise RuntimeError(f"{name} ended with status {child.poll()}: {child.log_tail(3)[-600:]}")


def answers(port: int, path: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return _HTTP.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == 200
    return False


def bench_python() -> str | None:
    """The interpreter that has the peers and the plots; None where `make bench` has not set it up."""
    found = Path(os.environ.get("HEADRACE_BENCH_PYTHON") or ROOT / ".venv-bench" / "bin" / "python")
    return str(found) if found.exists() else None
