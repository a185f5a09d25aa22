"""The development stack: starts broker, database and the services as they are in production, and stops them so that
nothing accepted is lost.

Stopping goes against the way of the events: gateway and edge first, then the worker when it has stored everything
(the embedded broker forgets what it holds), then query, database and broker. When one part dies, all stop.
"""

import asyncio
import http.client
import json
import signal
import socket
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import FrameType
from typing import Any

from services.devstack.broker import ApacheKafka, Broker, EmbeddedBroker, KafkaUnavailableError, find_kafka_jars
from services.devstack.child_process import ChildFailedError, ChildProcess, free_port
from services.devstack.clickhouse_server import ClickHouseProcess
from services.devstack.stack_settings import StackSettings, development_key
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.keys import Scope, create_key
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import MigrationError, migrate

PROJECT = "development"
_READY_TIMEOUT_S = 60
_POLL_S = 0.1


class StopRequestedError(Exception):
    """SIGTERM or SIGINT."""


class StackError(Exception):
    """The stack cannot start or go on; the message is for the person who started it."""


class Stack:
    """All parts, in the order in which they start. `start` raises StackError or ChildFailedError."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._logs = settings.data / "logs"
        self._parts: list[ChildProcess] = []
        self._ports = {name: free_port() for name in ("edge", "worker", "query")}
        self._environment: dict[str, str] = {}

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._settings.port}"

    def start(self) -> None:
        self._check_port()
        key, _ = development_key(self._settings)
        broker, database = self._broker(), self._database()
        say(f"starting the broker ({self._settings.broker}) and the database")
        with ThreadPoolExecutor(2) as pool:
            starts = [pool.submit(part.start) for part in (broker, database) if part is not None]
            for started in starts:
                started.result()
        self._environment = self._environment_for(broker, database)
        applied = asyncio.run(_prepare_store(database.url, key))
        say(f"the tables are there{f' ({len(applied)} migrations applied)' if applied else ''}")
        self._start_services()
        (self._settings.data / "stack.json").write_text(json.dumps(self._addresses(broker, database), indent=2))

    def watch(self) -> None:
        """Returns never; raises ChildFailedError when a part dies, StopRequestedError on a signal."""
        while True:
            for part in self._parts:
                if part.poll() is not None:
                    raise ChildFailedError(f"{part.name} ended with status {part.poll()}:\n{part.log_tail()}")
            time.sleep(_POLL_S)

    def stop(self, *, drain: bool) -> bool:
        """Stop all parts in order; whether everything that was accepted is stored."""
        by_name = {part.name: part for part in self._parts}
        for name in ("gateway", "edge"):
            if name in by_name:
                by_name[name].stop()
        stored = not drain or "worker" not in by_name or self._drain(by_name["worker"])
        for part in reversed(self._parts):
            part.stop()
        return stored

    def _drain(self, worker: ChildProcess) -> bool:
        deadline = time.monotonic() + self._settings.drain_timeout_s
        while worker.poll() is None and time.monotonic() < deadline:
            if _get_json(self._ports["worker"], "/lag").get("records") == 0:
                return True
            time.sleep(_POLL_S)
        return False

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self._settings.port))
            except OSError as error:
                raise StackError(
                    f"port {self._settings.port} of 127.0.0.1 cannot be had ({error.strerror}); "
                    "stop what uses it, or set HEADRACE_PORT"
                ) from None

    def _broker(self) -> Broker | None:
        """None: an address was given."""
        data, console = self._settings.data, self._settings.log_console
        if self._settings.broker == "embedded":
            broker: Broker = EmbeddedBroker(self._logs / "broker.log", to_console=console)
        elif self._settings.broker == "apache":
            try:
                broker = ApacheKafka(data / "kafka", find_kafka_jars())
            except KafkaUnavailableError as error:
                raise StackError(f"HEADRACE_BROKER=apache cannot be had here: {error}") from None
        else:
            return None
        self._parts.append(broker.child)
        return broker

    def _database(self) -> ClickHouseProcess:
        database = ClickHouseProcess(
            self._settings.data / "clickhouse",
            log=self._logs / "clickhouse.log",
            to_console=self._settings.log_console,
        )
        self._parts.append(database.child)
        return database

    def _environment_for(self, broker: Broker | None, database: ClickHouseProcess) -> dict[str, str]:
        """The services are configured as in production: by environment variables alone."""
        environment = {
            "HEADRACE_CLICKHOUSE_URL": database.url,
            "HEADRACE_KAFKA_BOOTSTRAP": self._settings.broker,
            **{f"HEADRACE_{name.upper()}_PORT": str(port) for name, port in self._ports.items()},
        }
        if broker is not None:
            environment["HEADRACE_KAFKA_BOOTSTRAP"] = broker.bootstrap
            environment["HEADRACE_KAFKA_PARTITIONS"] = "4"
            environment["HEADRACE_KAFKA_IDEMPOTENCE"] = str(broker.idempotent_producer).lower()
            # The embedded broker lets a group wait half of it for its first member.
            environment["HEADRACE_WORKER_SESSION_TIMEOUT_S"] = "6"
        return environment

    def _start_services(self) -> None:
        services = {
            name: self._service(name, ["-m", "services.cli", name], self._environment)
            for name in ("worker", "edge", "query")
        }
        urls = {name: f"http://127.0.0.1:{self._ports[name]}" for name in ("edge", "query")}
        gateway = ["-m", "services.devstack.gateway", "--port", str(self._settings.port)]
        services["gateway"] = self._service("gateway", [*gateway, "--edge", urls["edge"], "--query", urls["query"]], {})
        ports = {**self._ports, "gateway": self._settings.port}
        for name, part in services.items():
            part.wait_until(lambda name=name: _is_ready(ports[name]), _READY_TIMEOUT_S)  # type: ignore[misc]
            say(f"{name} is ready")

    def _service(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> ChildProcess:
        part = ChildProcess(
            name,
            [sys.executable, *arguments],
            log=self._logs / f"{name}.log",
            env=environment,
            to_console=self._settings.log_console,
        )
        self._parts.append(part)
        part.start()
        return part

    def _addresses(self, broker: Broker | None, database: ClickHouseProcess) -> dict[str, str]:
        """For whoever wants to look inside: `stack.json` in the data directory."""
        return {
            "gateway": self.base_url,
            **{name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()},
            "clickhouse": database.url,
            "kafka": self._settings.broker if broker is None else broker.bootstrap,
        }


def run() -> int:
    """Start, say `ready`, and stay until a signal (0) or until a part dies (1)."""
    settings = StackSettings()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _request_stop)
    stack, status, drain = Stack(settings), 0, True
    try:
        stack.start()
        _say_ready(stack, settings)
        stack.watch()
    except StopRequestedError:
        say("stopping: what was accepted is stored first")
    except (StackError, ChildFailedError, StoreError, MigrationError, OSError) as error:
        print(f"headrace: {error}", file=sys.stderr, flush=True)
        status, drain = 1, False
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        stored = stack.stop(drain=drain)
    if not stored:
        print("headrace: not everything that was accepted could be stored in time", file=sys.stderr, flush=True)
        return 1
    return status


def say(text: str) -> None:
    print(text, flush=True)


def _request_stop(number: int, frame: FrameType | None) -> None:
    raise StopRequestedError


def _say_ready(stack: Stack, settings: StackSettings) -> None:
    key, ours = development_key(settings)
    if ours:
        say(f"export INFRAI_API_KEY={key}")
    say(f"ready {stack.base_url}")
    say(
        f"curl -X POST {stack.base_url}/v1/analytics/track "
        '-H "Authorization: Bearer $INFRAI_API_KEY" -H "Content-Type: application/json" '
        '-d \'{"event": "checkout_completed", "distinct_id": "user_42", "properties": {"amount": 19.99}}\''
    )


async def _prepare_store(url: str, key: str) -> list[str]:
    settings = ClickHouseSettings(clickhouse_url=url)
    applied = await migrate(settings)
    store = await ClickHouse.connect(settings)
    try:
        await create_key(store, key, PROJECT, set(Scope), "development")
    finally:
        await store.close()
    return applied


def _is_ready(port: int) -> bool:
    return bool(_get_json(port, "/health/ready").get("ready"))


def _get_json(port: int, path: str) -> dict[str, Any]:
    """An empty answer where nothing (or something else) answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError, http.client.HTTPException, ValueError):
        try:
            connection.request("GET", path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()
    return {}
