"""Apache Kafka as a child process: one node in KRaft mode, alone or in a quorum, whose data survives restarts."""

import base64
import contextlib
import signal
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from services.devstack import kafka_protocol
from services.devstack.child_process import ChildFailedError, ChildProcess, free_port
from services.devstack.kafka_jars import KafkaJars

_HEAP = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC")
_LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {directory}/kafka.log
appender.file.filePattern = {directory}/kafka.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
"""


@dataclass(frozen=True, slots=True)
class Voter:
    """A node of the quorum: its number and the port of its controller."""

    node_id: int
    controller_port: int


@dataclass(frozen=True, slots=True)
class Quorum:
    """What all nodes of one cluster agree on. `settings` go into every node's server.properties as they are, and
    `format_options` to what formats its storage (`--add-scram` makes users)."""

    voters: Sequence[Voter]
    cluster_id: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    format_options: Sequence[str] = ()

    @property
    def replication(self) -> int:
        return min(3, len(self.voters))


class ApacheKafka:
    """A node, broker and controller in one; a context manager. May be started again after `stop` and after `kill`."""

    idempotent_producer = True

    def __init__(
        self,
        data_dir: Path,
        jars: KafkaJars,
        *,
        port: int | None = None,
        node_id: int = 1,
        quorum: Quorum | None = None,
        java_options: Sequence[str] = (),
    ) -> None:
        self.data_dir = data_dir
        self.node_id = node_id
        self.port = free_port() if port is None else port
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._jars = jars
        self._quorum = quorum or Quorum([Voter(node_id, free_port())])
        self._properties = data_dir / "server.properties"
        name = "kafka" if len(self._quorum.voters) == 1 else f"kafka-{node_id}"
        command = self._java(*_HEAP, *java_options, "kafka.Kafka", str(self._properties))
        self.child = ChildProcess(name, command, log=data_dir / "server.log")

    @property
    def pid(self) -> int:
        return self.child.pid

    def launch(self) -> None:
        """Formats the storage when it is new, and starts the process; does not wait. Raises ChildFailedError."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "log4j2.properties").write_text(_LOG4J.format(directory=self.data_dir.resolve()))
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in self._settings().items()))
        if not (self.data_dir / "log" / "meta.properties").exists():
            self._format()
        self.child.start()

    def answers(self) -> bool:
        return kafka_protocol.answers(self.port)

    def start(self, timeout_s: float = 60) -> Self:
        """Returns when it answers. Raises ChildFailedError."""
        self.launch()
        self.child.wait_until(self.answers, timeout_s)
        return self

    def stop(self, timeout_s: float = 30) -> None:
        self.child.stop(timeout_s)

    def kill(self) -> None:
        self.child.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _java(self, *arguments: str) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={self.data_dir.resolve() / 'log4j2.properties'}"
        return [self._jars.java, log4j, "-cp", self._jars.class_path, *arguments]

    def _format(self) -> None:
        arguments = ("format", "-t", self._cluster_id(), "-c", str(self._properties), *self._quorum.format_options)
        tool = ChildProcess(
            "kafka-storage", self._java("kafka.tools.StorageTool", *arguments), log=self.data_dir / "format.log"
        )
        tool.start()
        with contextlib.suppress(ChildFailedError):
            tool.wait_until(lambda: False, timeout_s=60)
        if tool.poll() != 0:
            tool.kill()
            raise ChildFailedError(f"the storage of Apache Kafka could not be formatted:\n{tool.log_tail()}")

    def _cluster_id(self) -> str:
        kept = self.data_dir / "cluster_id"
        if not kept.exists():
            kept.write_text(self._quorum.cluster_id or new_cluster_id())
        return kept.read_text()

    def _settings(self) -> dict[str, str]:
        quorum = self._quorum
        controller = next(v.controller_port for v in quorum.voters if v.node_id == self.node_id)
        copies, in_sync = str(quorum.replication), str((quorum.replication + 1) // 2)
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": ",".join(f"{v.node_id}@127.0.0.1:{v.controller_port}" for v in quorum.voters),
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.data_dir.resolve() / "log"),
            "num.partitions": "8",
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
            # There is no crowd of consumers to wait for.
            "group.initial.rebalance.delay.ms": "0",
            # A node that was killed may come back only when the quorum has given its former self up.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            **quorum.settings,
        }


def start_cluster(
    data_dir: Path,
    jars: KafkaJars,
    nodes: int = 3,
    settings: Mapping[str, str] | None = None,
    java_options: Sequence[str] = (),
) -> list[ApacheKafka]:
    """So many nodes that replicate to each other; when one does not start, none is left."""
    voters = [Voter(number, free_port()) for number in range(1, nodes + 1)]
    quorum = Quorum(voters, new_cluster_id(), settings or {})
    cluster = [
        ApacheKafka(data_dir / f"node-{v.node_id}", jars, node_id=v.node_id, quorum=quorum, java_options=java_options)
        for v in voters
    ]
    try:
        for node in cluster:
            node.launch()
        for node in cluster:
            node.child.wait_until(node.answers, timeout_s=60)
    except BaseException:
        for node in cluster:
            node.kill()
        raise
    return cluster


def stop_cluster(cluster: Sequence[ApacheKafka], timeout_s: float = 10) -> None:
    """All at once. The last node finds no quorum to take leave of, so it may be killed when the time is over."""
    for node in cluster:
        node.child.send_signal(signal.SIGTERM)
    for node in cluster:
        node.stop(timeout_s)


def new_cluster_id() -> str:
    """As Kafka makes them: 16 random bytes in URL-safe base64, not beginning with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text
