"""Apache ZooKeeper for tests of replicated tables: by Maven, as Kafka's jars are."""

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from services.devstack.child_process import ChildProcess, free_port
from services.devstack.kafka_jars import KafkaUnavailableError, find_kafka_jars

POM = Path(__file__).parent / "pom.xml"


def missing_because() -> str:
    """Why it cannot run here; empty where it can."""
    try:
        find_kafka_jars(pom=POM)
    except KafkaUnavailableError as error:
        return str(error).replace("Apache Kafka", "Apache ZooKeeper")
    return ""


class ZooKeeper:
    """A context manager: one server on 127.0.0.1."""

    def __init__(self, data_dir: Path) -> None:
        jars = find_kafka_jars(pom=POM)
        self.port = free_port()
        data_dir.mkdir()
        config = data_dir / "zoo.cfg"
        config.write_text(
            f"dataDir={data_dir}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\ntickTime=500\n"
            "admin.enableServer=false\nmaxClientCnxns=0\n"
        )
        main = "org.apache.zookeeper.server.ZooKeeperServerMain"
        command = [jars.java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", jars.class_path, main, str(config)]
        self._child = ChildProcess("zookeeper", command, log=data_dir / "server.log")

    def __enter__(self) -> Self:
        self._child.start()
        self._child.wait_until(self._listens, 60)
        return self

    def _listens(self) -> bool:
        """A connection is closed at once until the data are loaded; then nothing is said before the client does."""
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
            client.settimeout(2)
            client.sendall(b"srvr")
            return client.recv(100).startswith(b"Zookeeper version")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
