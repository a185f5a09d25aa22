"""The system in containers: Kafka, ClickHouse, edges, workers, query services, as deploy/compose.yaml says they run.

Environment, users, folders, limits are read from that file; one network of their own, ports on 127.0.0.1. All of it is
gone afterwards.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from docker.types import Mount  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from services.contract.api.endpoints import BASE_PATH
from services.devstack.child_process import free_port
from tests.support.compose import DEPLOY, environment_of, load_compose, substitute

ROOT = DEPLOY.parent
EDGE, WORKER, QUERY = "edge", "worker", "query"
_PORTS = {"clickhouse": 8123, EDGE: 8001, QUERY: 8002, WORKER: 8003}
_READY_S = 180.0
_LOG_LINES = 200
_OURS = (EDGE, WORKER, QUERY)
PROJECT = "load"


@dataclass
class Options:
    """`images` by name in compose.yaml; where none is given, the one of that file. `counts` of our services."""

    counts: dict[str, int]
    image: str = ""
    kafka_image: str = ""
    clickhouse_image: str = ""
    variables: dict[str, str] = field(default_factory=dict)


class Container:
    """One container. Keeps its port when it is killed and started again."""

    def __init__(self, name: str, made: DockerContainer, port: int) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._made = made

    def kill(self) -> None:
        self._made.get_wrapped_container().kill()

    def start(self) -> None:
        self._made.get_wrapped_container().start()

    def stats(self) -> dict[str, Any]:
        """As the engine tells them, of this moment."""
        stats: dict[str, Any] = self._made.get_wrapped_container().stats(stream=False, one_shot=True)
        return stats

    def logs(self) -> str:
        text: bytes = self._made.get_wrapped_container().logs(tail=_LOG_LINES)
        return text.decode(errors="replace")

    def is_running(self) -> bool:
        wrapped = self._made.get_wrapped_container()
        wrapped.reload()
        return bool(wrapped.status == "running")


class Stack:
    """What runs. `key` sends alone; `query_key` does all. Both are of PROJECT; `probe_key` is of a project of its own."""

    def __init__(self, options: Options, to: ExitStack) -> None:
        self._options = options
        self._compose = load_compose()["services"]
        self._to = to
        names = ("ADMIN", "EDGE", "WORKER", "QUERY")
        self._values = {f"{name}_CLICKHOUSE_PASSWORD": secrets.token_hex(24) for name in names}
        self._values |= {"CONSOLE_SECRET": secrets.token_hex(32), **options.variables}
        images = (("IMAGE", options.image), ("KAFKA_IMAGE", options.kafka_image))
        self._values |= {
            name: image for name, image in (*images, ("CLICKHOUSE_IMAGE", options.clickhouse_image)) if image
        }
        self._network = to.enter_context(Network())
        self._http = to.enter_context(httpx.Client(timeout=120))
        self.containers: list[Container] = []
        self.key = self.query_key = self.probe_key = ""

    def start(self) -> None:
        """Returns when everything is ready."""
        self._start("kafka", "kafka")
        self._start("clickhouse", "clickhouse")
        self._until("clickhouse answers", lambda: self._answers(self.clickhouse, "/ping"))
        self._run_to_end("migrate")
        self.key = self._new_key(PROJECT, "ingest")
        self.query_key = self._new_key(PROJECT, "ingest", "query")
        self.probe_key = self._new_key("probes", "ingest", "query")
        for service in _OURS:
            for number in range(1, self._options.counts[service] + 1):
                self._start(service, f"{service}-{number}")
        for container in self.of(*_OURS):
            self.wait_ready(container)

    def of(self, *services: str) -> list[Container]:
        return [c for c in self.containers if c.name.partition("-")[0] in services]

    @property
    def clickhouse(self) -> Container:
        return self.of("clickhouse")[0]

    @property
    def images(self) -> list[str]:
        services = ("kafka", "clickhouse", EDGE)
        return [substitute(self._compose[service]["image"], self._values) for service in services]

    def urls(self, service: str) -> list[str]:
        return [container.url for container in self.of(service)]

    def wait_ready(self, container: Container) -> None:
        self._until(f"{container.name} is ready", lambda: self._answers(container, "/health/ready"))

    def sql(self, statement: str) -> bytes:
        """The answer, as ClickHouse's administrator."""
        answer = self._http.post(
            self.clickhouse.url,
            params={"database": "headrace"},
            content=statement,
            auth=("admin", self._values["ADMIN_CLICKHOUSE_PASSWORD"]),
        )
        if answer.status_code != 200:
            raise RuntimeError(f"ClickHouse answers {answer.status_code}: {answer.text[:300]}")
        return answer.content

    def is_deleted(self, deletion_id: str) -> bool:
        """Whether a deletion of the project is done."""
        url = f"{self.of(QUERY)[0].url}{BASE_PATH}/privacy/delete/{deletion_id}"
        answer = self._http.get(url, headers={"authorization": f"Bearer {self.query_key}"})
        return answer.status_code == 200 and answer.json()["state"] == "done"

    def write_logs(self, folder: Path) -> None:
        """The last lines of each container."""
        for container in self.containers:
            (folder / f"{container.name}.log").write_text(container.logs())

    def _start(self, service: str, name: str) -> None:
        port = free_port() if service in _PORTS else 0
        made = self._made(service).with_network_aliases(service, name)
        if port:
            made.with_bind_ports(_PORTS[service], port)
        self._to.enter_context(made)
        self.containers.append(Container(name, made, port))

    def _made(self, service: str, command: Sequence[str] = ()) -> DockerContainer:
        of = self._compose[service]
        values = self._values
        made = DockerContainer(substitute(of["image"], values)).with_network(self._network)
        made.with_envs(**environment_of(of, values))
        if command or "command" in of:
            made.with_command(list(command or of["command"]))
        made.tmpfs = dict(_tmpfs(entry) for entry in of.get("tmpfs", []))
        made.with_kwargs(**options_of_service(of, values))
        return made

    def _run_to_end(self, service: str, *command: str) -> str:
        """A command of our image, as the administrator; what it prints."""
        with self._made(service, command) as made:
            wrapped = made.get_wrapped_container()
            status = wrapped.wait(timeout=_READY_S)["StatusCode"]
            text: str = wrapped.logs(stderr=bool(status)).decode()
        if status:
            raise RuntimeError(f"{service} {' '.join(command)} ended with {status}:\n{text}")
        return text

    def _new_key(self, project: str, *scopes: str) -> str:
        options = [part for scope in scopes for part in ("--scope", scope)]
        return self._run_to_end("admin", "keys", "create", "--project", project, *options).split()[-1]

    def _answers(self, container: Container, path: str) -> bool:
        try:
            return self._http.get(f"{container.url}{path}", timeout=3).status_code == 200
        except httpx.HTTPError:
            return False

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_S
        while not holds():
            ended = [c for c in self.containers if not c.is_running()]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(f"--- {c.name}\n{c.logs()}" for c in ended or self.containers[-1:])
                raise RuntimeError(f"not in time: {what}\n{logs}")
            time.sleep(0.3)


@contextmanager
def started_stack(options: Options) -> Iterator[Stack]:
    """Everything running and ready; removed afterwards."""
    with ExitStack() as to:
        stack = Stack(options, to)
        stack.start()
        yield stack


def build_image(name: str) -> None:
    """Ours, of this tree."""
    command = ["docker", "build", "--quiet", "--file", "deploy/Dockerfile", "--tag", name, "."]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=True)  # noqa: S603


def options_of_service(service: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """What docker takes, of what compose says; open files are as many as the engine lets a container have."""
    mounts, memory = [], service.get("deploy", {}).get("resources", {}).get("limits", {}).get("memory")
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        if source.startswith("."):
            path = str(Path(DEPLOY, source).resolve())
            mounts.append(Mount(target, path, type="bind", read_only=mode == ["ro"]))
        else:
            mounts.append(Mount(target, None, type="volume"))
    options: dict[str, Any] = {
        "mounts": mounts,
        **{
            name: service[name]
            for name in ("read_only", "cap_drop", "security_opt", "user", "init", "hostname")
            if name in service
        },
    }
    return options | ({"mem_limit": substitute(memory, values)} if memory else {})


def _tmpfs(entry: str) -> tuple[str, str]:
    path, _, options = entry.partition(":")
    return path, options
