"""The pipeline under test: brokers, ClickHouse, and edges, workers and query service as processes of their own."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.devstack.apache_kafka import start_cluster
from services.devstack.broker import ApacheKafka, EmbeddedBroker, find_kafka_jars
from services.devstack.clickhouse_server import ClickHouseProcess
from services.query.sql.events import EVENTS_ONCE
from services.runtime.clickhouse import ClickHouse
from services.runtime.kafka import admin_client, count_partitions, topics_of
from services.runtime.kafka_rights import Client
from services.runtime.kafka_topics import ensure_topics
from services.runtime.keys import Scope, create_key, new_key
from services.runtime.log_reader import LogReader
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.schema.migrate import migrate
from services.schema.roles import Role
from tests.bench.against.build import Build, base_build
from tests.fault.broken import EDGE_BUILDS
from tests.fault.engines import Engines
from tests.fault.ledger import Numbers
from tests.fault.load import Earlier
from tests.fault.processes import Service, python_path, run_headrace, until
from tests.fault.proxy import Proxy
from tests.fault.quick_start import quick_start_options

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 8
SESSION_TIMEOUT_S = 6
CLICKHOUSE_TIMEOUT_S = 4
PUBLISH_TIMEOUT_S = 2

# So that a dead broker's leaders are elected again after 3 s.
_BROKER_SETTINGS = {
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "group.min.session.timeout.ms": "1000",
}
_ASSIGNED = re.compile(rb'headrace_worker_lag_records\{partition="(\d+)",topic="([^"]+)"\}')
_ROW = np.dtype([("n", "<u4"), ("v", "u1")])


@dataclass(frozen=True)
class Shape:
    """How many of each. `brokers` = 0: the embedded broker, which forgets everything when it dies.

    `broken`: workers and query service, or the edges as well, are that deliberately broken build (broken.py). `base`: a
    commit whose build everything begins with.
    """

    brokers: int = 1
    edges: int = 2
    workers: int = 3
    broken: str | None = None
    base: str | None = None
    shards: int = 1


@dataclass
class Stack:
    """All of it, running. `proxies[i]` stands between `workers[i]` and ClickHouse.

    `project` is what load and readers speak for, with `key`; see `new_project`. `earlier`: those before it.
    `clickhouse_exits`: how it ended without being asked to. `supervisors` never end.
    """

    shape: Shape
    data_dir: Path
    settings: dict[str, str]
    brokers: list[ApacheKafka] | list[EmbeddedBroker]
    engines: Engines
    http: aiohttp.ClientSession
    project: str = ""
    key: str = ""
    edges: list[Service] = field(default_factory=list)
    workers: list[Service] = field(default_factory=list)
    proxies: list[Proxy] = field(default_factory=list)
    queries: list[Service] = field(default_factory=list)
    earlier: list[Earlier] = field(default_factory=list)
    supervisors: list[asyncio.Task[None]] = field(default_factory=list)
    clickhouse_wanted: bool = True
    clickhouse_exits: list[int] = field(default_factory=list)

    @property
    def services(self) -> list[Service]:
        return [*self.edges, *self.workers, *self.queries]

    @property
    def query(self) -> Service:
        return self.queries[0]

    async def new_project(self, name: str) -> None:
        """From now on, events go to a project that is empty."""
        self.project, self.key = name, new_key()
        store = await ClickHouse.connect(self.admin_settings())
        try:
            await create_key(store, self.key, name, {Scope.INGEST, Scope.QUERY})
        finally:
            await store.close()

    @property
    def clickhouse(self) -> ClickHouseProcess:
        """The one that services speak to."""
        return self.engines.nodes[0]

    def kafka_settings(self) -> KafkaSettings:
        return KafkaSettings(**_named(self.settings))

    def admin_settings(self) -> ClickHouseSettings:
        return ClickHouseSettings(
            clickhouse_url=self.engines.url,
            clickhouse_cluster=self.engines.cluster,
            clickhouse_user=Role.ADMIN.value,
            clickhouse_password=self.clickhouse.password(Role.ADMIN),
        )

    async def sql(self, query: str) -> bytes:
        """Asks ClickHouse itself. Raises aiohttp.ClientError, also for errors of the query."""
        user = {"Authorization": aiohttp.encode_basic_auth(Role.ADMIN.value, self.clickhouse.password(Role.ADMIN))}
        async with self.http.post(
            self.engines.url, data=query, params={"database": "headrace"}, headers=user, raise_for_status=True
        ) as answer:
            return await answer.read()

    async def count_rows(self) -> int:
        """Rows of the project, those that lie there twice included: cheap."""
        return int(await self.sql(f"SELECT count() FROM headrace.events WHERE project_id = '{self.project}'"))

    async def count_stored(self) -> int:
        """Rows as the query service counts them: work for ClickHouse, which is to have time for the pipeline."""
        return int(await self.sql(f"SELECT count() FROM {EVENTS_ONCE} WHERE project_id = '{self.project}'"))

    async def stored(self, project: str) -> tuple[Numbers, np.ndarray[tuple[int], np.dtype[np.uint8]]]:
        """Number and variant of each stored row of a project."""
        body = await self.sql(
            "SELECT toUInt32(JSONExtractUInt(properties, 'n')), toUInt8(JSONExtractUInt(properties, 'v')) "
            f"FROM {EVENTS_ONCE} WHERE project_id = '{project}' FORMAT RowBinary"
        )
        rows = np.frombuffer(body, dtype=_ROW)
        return rows["n"].astype(np.uint32), rows["v"].astype(np.uint8)

    async def page(self, service: Service, path: str) -> bytes:
        """What a service's page says; empty when it does not answer."""
        try:
            timeout = aiohttp.ClientTimeout(total=3)
            async with self.http.get(f"{service.url}{path}", timeout=timeout) as answer:
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return b""

    async def is_ready(self, service: Service) -> bool:
        try:
            timeout = aiohttp.ClientTimeout(total=3)
            async with self.http.get(f"{service.url}/health/ready", timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def partitions_of(self, worker: Service) -> set[int]:
        """The event partitions that a worker says it has, of those that are used."""
        if not worker.running:
            return set()
        text = await self.page(worker, "/metrics")
        topic = f"{self.settings['HEADRACE_KAFKA_TOPIC_PREFIX']}.events".encode()
        return {
            int(partition)
            for partition, name in _ASSIGNED.findall(text)
            if name == topic and int(partition) < PARTITIONS
        }

    async def wait_ready(self, timeout_s: float = 180) -> None:
        async def all_ready() -> bool:
            return all(await asyncio.gather(*[self.is_ready(s) for s in self.services if s.wanted]))

        await until(all_ready, "all services ready", timeout_s)

    async def wait_all_assigned(self, timeout_s: float = 180, but: Service | None = None) -> None:
        """Until the running workers (without one) have all partitions between them."""

        async def covered() -> bool:
            workers = [w for w in self.workers if w.running and w is not but]
            held = await asyncio.gather(*[self.partitions_of(w) for w in workers])
            return sum(map(len, held)) == PARTITIONS and set().union(*held) == set(range(PARTITIONS))

        await until(covered, "all partitions assigned", timeout_s)

    async def start_broker(self, at: int) -> None:
        await asyncio.to_thread(self.brokers[at].start)

    async def wait_in_sync(self, timeout_s: float = 180) -> None:
        """Until every partition of the topics has all its replicas again: the next broker may die."""
        settings = self.kafka_settings()
        topics = topics_of(settings)

        async def in_sync() -> bool:
            try:
                described = await _describe(settings, [topics.events, topics.identity, topics.dead_letters])
            except (KafkaError, OSError):
                return False
            return all(len(p["isr"]) == len(p["replicas"]) for topic in described for p in topic["partitions"])

        await until(in_sync, "all replicas in sync", timeout_s)

    async def uncommitted(self) -> dict[str, str]:
        """By partition, what the workers have committed of how much, where that is not all."""
        settings = self.kafka_settings()
        topics = topics_of(settings)
        behind = {}
        try:
            async with admin_client(settings) as admin, LogReader.connected(settings) as reader:
                asked = [
                    TopicPartition(topic, partition)
                    for topic in (topics.events, topics.identity)
                    for partition in range(await count_partitions(settings, topic))
                ]
                committed = await admin.list_consumer_group_offsets(
                    self.settings["HEADRACE_WORKER_GROUP"], partitions=asked
                )
                for tp, bounds in (await reader.bounds(asked)).items():
                    at = committed[tp].offset if tp in committed else -1
                    if max(at, bounds.start) < bounds.end:
                        behind[f"{tp.topic}/{tp.partition}"] = f"{at} of {bounds.end}"
        except (KafkaError, OSError, TimeoutError) as error:
            return {"every partition": repr(error)}
        return behind

    async def kill_clickhouse(self) -> None:
        self.clickhouse_wanted = False
        await asyncio.to_thread(self.clickhouse.kill)

    async def start_clickhouse(self) -> None:
        await asyncio.to_thread(self.clickhouse.start)
        self.clickhouse_wanted = True

    async def kill_shard(self, at: int) -> None:
        if at == 0:
            self.clickhouse_wanted = False
        await asyncio.to_thread(self.engines.nodes[at].kill)

    async def start_shard(self, at: int) -> None:
        await asyncio.to_thread(self.engines.nodes[at].start)
        self.clickhouse_wanted = True

    async def look_after_clickhouse(self) -> None:
        """Restart it whenever it ends while it is wanted, as its supervisor would. For ever."""
        while True:
            if self.clickhouse_wanted and (status := self.clickhouse.child.poll()) is not None:
                self.clickhouse_exits.append(status)
                await self.start_clickhouse()
            await asyncio.sleep(0.1)

    def log_tails(self) -> str:
        tails = [f"--- {s.name} {s.exits or ''}\n{s.log_tail(12)}" for s in self.services]
        tails.append(f"--- ClickHouse {self.clickhouse_exits or ''}\n{self.clickhouse.child.log_tail(30)}")
        return "\n".join(tails)


@asynccontextmanager
async def started(shape: Shape, data_dir: Path) -> AsyncIterator[Stack]:
    """Starts everything and stops it at the end. Raises ChildFailedError, TimeoutError, KafkaUnavailableError."""
    with ExitStack() as opened:
        base = opened.enter_context(base_build(shape.base, data_dir)) if shape.base else None
        async with _started(shape, data_dir, base) as stack:
            yield stack


@asynccontextmanager
async def _started(shape: Shape, data_dir: Path, base: Build | None) -> AsyncIterator[Stack]:
    brokers = await asyncio.to_thread(_start_brokers, shape, data_dir)
    engines = Engines(data_dir, shape.shards)
    tasks: list[asyncio.Task[None]] = []
    stack: Stack | None = None
    try:
        await engines.start()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            stack = Stack(shape, data_dir, _settings(shape, brokers), brokers, engines, http)
            await _prepare(stack, base)
            await _start_services(stack, base)
            tasks = [asyncio.create_task(service.look_after()) for service in stack.services]
            tasks.append(asyncio.create_task(stack.look_after_clickhouse()))
            stack.supervisors = tasks
            await stack.wait_ready()
            await stack.wait_all_assigned()
            yield stack
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if stack is not None:
            await asyncio.gather(*[service.kill() for service in stack.services])
            await asyncio.gather(*[proxy.stop() for proxy in stack.proxies])
        await engines.stop()
        await asyncio.to_thread(_stop_brokers, brokers)


def _start_brokers(shape: Shape, data_dir: Path) -> list[ApacheKafka] | list[EmbeddedBroker]:
    if shape.brokers == 0:
        return [EmbeddedBroker(data_dir / "broker.log").start()]
    jars = find_kafka_jars()
    return start_cluster(data_dir / "kafka", jars, shape.brokers, _BROKER_SETTINGS, quick_start_options(jars))


def _stop_brokers(brokers: list[ApacheKafka] | list[EmbeddedBroker]) -> None:
    for broker in brokers:
        broker.child.send_signal(signal.SIGCONT)
        broker.kill()


def _settings(shape: Shape, brokers: list[ApacheKafka] | list[EmbeddedBroker]) -> dict[str, str]:
    copies = min(3, max(1, shape.brokers))
    return {
        "HEADRACE_KAFKA_BOOTSTRAP": ",".join(broker.bootstrap for broker in brokers),
        "HEADRACE_KAFKA_TOPIC_PREFIX": "fault",
        "HEADRACE_KAFKA_PARTITIONS": str(PARTITIONS),
        "HEADRACE_KAFKA_REPLICATION": str(copies),
        "HEADRACE_KAFKA_MIN_INSYNC_REPLICAS": str((copies + 1) // 2),
        "HEADRACE_KAFKA_IDEMPOTENCE": str(brokers[0].idempotent_producer).lower(),
        "HEADRACE_CLICKHOUSE_TIMEOUT_S": str(CLICKHOUSE_TIMEOUT_S),
        "HEADRACE_EDGE_PUBLISH_TIMEOUT_S": str(PUBLISH_TIMEOUT_S),
        "HEADRACE_WORKER_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
        "HEADRACE_WORKER_DRAIN_TIMEOUT_S": "8",
        # More than a disk may be behind, and less than the usual: many scenarios kill ClickHouse.
        "HEADRACE_WORKER_READ_AGAIN_MINUTES": "1",
        # 0.1.0 has this one, whatever the topics are called.
        "HEADRACE_WORKER_GROUP": "headrace-worker" if shape.base else "fault-worker",
        "HEADRACE_QUERY_DELETIONS_PAUSE_S": "0.5",
    }


def _named(settings: Mapping[str, str]) -> dict[str, Any]:
    """As the settings classes name their fields; they convert the values."""
    return {name.removeprefix("HEADRACE_").lower(): value for name, value in settings.items()}


async def _prepare(stack: Stack, base: Build | None) -> None:
    """Tables and topics. Those of another build are made by it: its edges make the topics."""
    if base is not None:
        admin = stack.clickhouse.environment(Role.ADMIN)
        await run_headrace({**stack.settings, **admin}, "migrate", build=base)
        return
    await migrate(stack.admin_settings())
    await ensure_topics_at_last(stack.kafka_settings())


async def ensure_topics_at_last(settings: KafkaSettings, timeout_s: float = 90) -> None:
    """A cluster that has just formed refuses for a moment."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            await ensure_topics(settings, Client.EDGE)
            return
        except (KafkaError, OSError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


async def _describe(settings: KafkaSettings, topics: list[str]) -> list[dict[str, Any]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","), request_timeout_ms=5000)
    try:
        await admin.start()
        described: list[dict[str, Any]] = await admin.describe_topics(topics)
        return described
    finally:
        await admin.close()


async def _start_services(stack: Stack, base: Build | None) -> None:
    shape, logs = stack.shape, stack.data_dir / "logs"

    def env(role: Role) -> dict[str, str]:
        # What another build needs of ClickHouse is not known here.
        user = Role.ADMIN if base else role
        of_store = {**stack.clickhouse.environment(user), **stack.engines.settings}
        return {**stack.settings, **python_path(ROOT), **of_store}

    of_edges = shape.broken if shape.broken in EDGE_BUILDS else None
    stack.edges += [Service(f"edge-{i}", "edge", env(Role.EDGE), logs, of_edges) for i in range(shape.edges)]
    for i in range(shape.workers):
        proxy = Proxy(stack.engines.port)
        await proxy.start()
        stack.proxies.append(proxy)
        through = {**env(Role.WORKER), "HEADRACE_CLICKHOUSE_URL": proxy.url}
        stack.workers.append(Service(f"worker-{i}", "worker", through, logs, shape.broken))
    stack.queries.append(Service("query", "query", env(Role.QUERY), logs, shape.broken))
    for service in stack.services:
        service.build = base
    await asyncio.gather(*[service.start() for service in stack.services])
