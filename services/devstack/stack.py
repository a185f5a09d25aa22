"""The development stack: broker, database, and the services as they are in production.

Stopping goes with the way of the events, so that nothing accepted is lost: gateway and edge first, then the worker
when it has stored everything (the embedded broker forgets what it holds), then query, database and broker.
"""

import asyncio
import http.client
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any

from services.contract.api.sdk import FAMILIES
from services.devstack.broker import ApacheKafka, Broker, EmbeddedBroker, KafkaUnavailableError, find_kafka_jars
from services.devstack.child_process import ChildProcess, free_port
from services.devstack.clickhouse_server import ClickHouseProcess
from services.devstack.data_lock import write_private
from services.devstack.development_key import console_secret, development_key
from services.devstack.parts import Part, Parts
from services.runtime.clickhouse import ClickHouse
from services.runtime.environment import FILE_SUFFIX
from services.runtime.keys import Scope, create_key
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import ClickHouseSettings, StackSettings
from services.schema.migrate import migrate
from services.schema.roles import Role

PROJECT = "development"
_READY_TIMEOUT_S = 60
# Longer than the services give themselves to finish what is under way.
_STOP_TIMEOUT_S = 45
_POLL_S = 0.05
_SDKS = "HEADRACE_EDGE_SDK_FAMILIES"


class StackError(OperatorError):
    """The stack cannot be had as it was asked for; the message is for the person who asked."""


class Stack:
    """To be started once. `say` tells a person how far it is."""

    def __init__(self, settings: StackSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._logs = settings.data / "logs"
        self._parts = Parts(say)
        self._ports = {name: free_port() for name in ("edge", "worker", "query", "console")}
        self._embedded = settings.broker == "embedded"
        self._was_ready = False

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._settings.port}"

    def start(self) -> None:
        """Returns when all parts answer that they are ready. Raises StackError, ChildFailedError, StoreError."""
        key, _ = development_key(self._settings)
        database = self._database()
        store = self._parts.start(Part(database.child, database.launch, database.answers))
        broker = self._broker()
        logs = [] if broker is None else [self._parts.start(Part(broker.child, broker.launch, broker.answers))]
        self._parts.wait_until_ready([store], _READY_TIMEOUT_S)
        applied = asyncio.run(_prepare_store(database, key))
        self._say(f"the tables are ready{f' ({len(applied)} migrations applied)' if applied else ''}")
        self._parts.wait_until_ready(logs, _READY_TIMEOUT_S)
        environment = self._environment(broker)
        services = [self._parts.start(part) for part in self._services(environment, database)]
        self._parts.wait_until_ready(services, _READY_TIMEOUT_S)
        self._was_ready = True
        (self._settings.data / "stack.json").write_text(json.dumps(self._addresses(environment, database), indent=2))
        self._write_environment({**environment, **database.environment(Role.ADMIN)})

    def watch(self) -> None:
        """Returns never; raises ChildFailedError when a part dies."""
        self._parts.watch()

    def stop(self, is_hurried: Callable[[], bool]) -> bool:
        """Whether everything that was accepted is stored, or at least kept by the broker."""
        for name in ("gateway", "edge"):
            self._parts.stop(name, _STOP_TIMEOUT_S)
        kept = not self._embedded or not self._was_ready or self._drain(is_hurried)
        self._parts.stop_all(_STOP_TIMEOUT_S)
        return kept

    def _drain(self, is_hurried: Callable[[], bool]) -> bool:
        """Wait until the worker has stored all that the broker holds."""
        deadline = time.monotonic() + self._settings.drain_timeout_s
        while self._parts.are_running("broker", "clickhouse", "worker"):
            if get_json(self._ports["worker"], "/lag").get("records") == 0:
                return True
            if is_hurried() or time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return False

    def _broker(self) -> Broker | None:
        """None when an address was given."""
        if self._embedded:
            copies = self._settings.data / "bin"
            return EmbeddedBroker(self._logs / "broker.log", copies=copies, to_console=self._settings.log_console)
        if self._settings.broker != "apache":
            return None
        self._say("looking for Apache Kafka with Maven (the first time brings some 90 MB)")
        try:
            return ApacheKafka(self._settings.data / "kafka", find_kafka_jars())
        except KafkaUnavailableError as error:
            raise StackError(f"HEADRACE_BROKER=apache cannot be had here: {error}") from None

    def _database(self) -> ClickHouseProcess:
        log = self._logs / "clickhouse.log"
        return ClickHouseProcess(
            self._settings.data / "clickhouse",
            databases=[ClickHouseSettings().clickhouse_database],
            log=log,
            to_console=self._settings.log_console,
        )

    def _environment(self, broker: Broker | None) -> dict[str, str]:
        """The services are configured as in production: by environment variables alone."""
        environment = {
            "HEADRACE_CLICKHOUSE_CLUSTER": "",
            "HEADRACE_KAFKA_BOOTSTRAP": self._settings.broker,
            _SDKS: os.environ.get(_SDKS, ",".join(FAMILIES)),
            **{f"HEADRACE_{name.upper()}_PORT": str(port) for name, port in self._ports.items()},
        }
        if broker is not None:
            environment["HEADRACE_KAFKA_BOOTSTRAP"] = broker.bootstrap
            environment["HEADRACE_KAFKA_PARTITIONS"] = "4"
            environment["HEADRACE_KAFKA_IDEMPOTENCE"] = str(broker.idempotent_producer).lower()
            # The embedded broker lets a group wait half of it for its first member.
            environment["HEADRACE_WORKER_SESSION_TIMEOUT_S"] = "6"
        # A file that this process's environment names would be a second value.
        return environment | {f"{name}{FILE_SUFFIX}": "" for name in environment}

    def _services(self, environment: Mapping[str, str], database: ClickHouseProcess) -> list[Part]:
        """The worker first, for it takes longest. Each has a user of its own in the database."""
        services = [
            self._service(name, {**environment, **database.environment(Role(name))})
            for name in ("worker", "query", "edge")
        ]
        upstreams = [f"--{name}=http://127.0.0.1:{self._ports[name]}" for name in ("edge", "query", "console")]
        port = self._settings.port
        arguments = ["-m", "services.devstack.gateway", f"--port={port}", *upstreams]
        gateway = self._child("gateway", arguments, {})
        return [
            *services,
            Part(gateway, gateway.start, lambda: "openapi" in get_json(port, "/openapi.json")),
            self._service("console", self._console_environment()),
        ]

    def _console_environment(self) -> dict[str, str]:
        """It is told no address and no password of the store or the log."""
        return {
            "HEADRACE_CONSOLE_PORT": str(self._ports["console"]),
            "HEADRACE_CONSOLE_API_URL": self.base_url,
            "HEADRACE_CONSOLE_COOKIE_SECURE": "false",
            "HEADRACE_CONSOLE_SECRET": console_secret(self._settings),
            f"HEADRACE_CONSOLE_SECRET{FILE_SUFFIX}": "",
        }

    def _service(self, name: str, environment: Mapping[str, str]) -> Part:
        child, port = self._child(name, ["-m", "services.cli", name], environment), self._ports[name]
        return Part(child, child.start, lambda: get_json(port, "/health/ready").get("ready") is True)

    def _child(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> ChildProcess:
        return ChildProcess(
            name,
            [sys.executable, *arguments],
            log=self._logs / f"{name}.log",
            env=environment,
            to_console=self._settings.log_console,
        )

    def _addresses(self, environment: Mapping[str, str], database: ClickHouseProcess) -> dict[str, str]:
        """For whoever wants to look inside: `stack.json` in the data directory."""
        return {
            "gateway": self.base_url,
            **{name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()},
            "clickhouse": database.url,
            "kafka": environment["HEADRACE_KAFKA_BOOTSTRAP"],
        }

    def _write_environment(self, environment: Mapping[str, str]) -> None:
        """`env` in the data directory: with it, the commands of `headrace` speak to this stack."""
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
        write_private(self._settings.data / "env", "".join(lines))


async def _prepare_store(database: ClickHouseProcess, key: str) -> list[str]:
    settings = ClickHouseSettings(
        clickhouse_url=database.url,
        clickhouse_user=Role.ADMIN.value,
        clickhouse_password=database.password(Role.ADMIN),
        clickhouse_cluster="",
    )
    applied = await migrate(settings)
    store = await ClickHouse.connect(settings)
    try:
        await create_key(store, key, PROJECT, set(Scope), "development")
    finally:
        await store.close()
    return applied


def get_json(port: int, path: str) -> dict[str, Any]:
    """An empty answer where nothing (or something else) answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with closing(connection), suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("GET", path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    return {}
