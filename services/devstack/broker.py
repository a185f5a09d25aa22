"""The brokers that a development machine can run: one that is there at once, and Apache Kafka, which keeps its data."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from services.devstack import kafka_protocol
from services.devstack.apache_kafka import ApacheKafka, Quorum, Voter, start_cluster, stop_cluster
from services.devstack.child_process import ChildProcess, free_port
from services.devstack.embedded_binary import find_broker_program
from services.devstack.kafka_jars import KafkaJars, KafkaUnavailableError, find_kafka_jars

__all__ = [
    "ApacheKafka",
    "Broker",
    "EmbeddedBroker",
    "KafkaJars",
    "KafkaUnavailableError",
    "Quorum",
    "Voter",
    "find_kafka_jars",
    "start_cluster",
    "stop_cluster",
]


class Broker(Protocol):
    """A broker in a child process. Leaves nothing behind when this process ends, however it ends."""

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""

    @property
    def idempotent_producer(self) -> bool:
        """Whether it knows InitProducerId."""

    @property
    def child(self) -> ChildProcess: ...

    def launch(self) -> None:
        """Starts it without waiting until it answers."""

    def answers(self) -> bool:
        """Does not prove that the topics are there."""

    def start(self, timeout_s: float = 60) -> Self:
        """Blocks until it answers. Raises ChildFailedError."""

    def stop(self, timeout_s: float = 30) -> None: ...

    def kill(self) -> None:
        """SIGKILL."""


class EmbeddedBroker:
    """Tansu: Kafka's protocol from one small binary, in memory only. A context manager.

    Whatever is in it is gone when it stops. It has neither InitProducerId nor DeleteRecords.
    """

    idempotent_producer = False

    def __init__(
        self, log: Path, *, copies: Path | None = None, port: int | None = None, to_console: bool = False
    ) -> None:
        """`copies`: where a copy of the program may be kept; else beside the log. Raises BrokerMissingError."""
        self.port = free_port() if port is None else port
        self.bootstrap = f"127.0.0.1:{self.port}"
        address = f"tcp://{self.bootstrap}"
        command = [
            str(find_broker_program(copies or log.parent)),
            "broker",
            "--listener-url",
            address,
            "--advertised-listener-url",
            address,
        ]
        command += ["--storage-engine", "memory://tansu/"]
        self.child = ChildProcess("broker", command, log=log, to_console=to_console)

    @property
    def pid(self) -> int:
        return self.child.pid

    def start(self, timeout_s: float = 60) -> Self:
        """Returns when it answers. Raises ChildFailedError."""
        self.launch()
        self.child.wait_until(self.answers, timeout_s)
        return self

    def launch(self) -> None:
        self.child.start()

    def answers(self) -> bool:
        return kafka_protocol.answers(self.port)

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
