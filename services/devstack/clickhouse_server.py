"""ClickHouse for development: one server in a child process, on 127.0.0.1 alone, with a user for each service.

What was acknowledged survives kill -9 of the process.
"""

import base64
import contextlib
import http.client
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import structs

from services.devstack.child_process import ChildProcess, free_port
from services.devstack.clickhouse_config import Place, ServerConfig, passwords_of, write_config
from services.schema.roles import Role

# As in production. The engine takes its time zone from nowhere else.
_ENVIRONMENT = {"TZ": "UTC"}
# What Python needs to start, where it is set.
_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


class ClickHouseProcess:
    """A context manager. `stop` ends it cleanly, `kill` with SIGKILL; it may be started again after both, with the same
    ports and passwords.

    `databases`: the only ones that its users may use. `memory_bytes`: of all queries together; 0: half of what there is.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        databases: Sequence[str] = ("headrace",),
        memory_bytes: int = 0,
        log: Path | None = None,
        to_console: bool = False,
    ) -> None:
        self.port = free_port() if port is None else port
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = ServerConfig(self.port, free_port(), databases, memory_bytes)
        self._data_dir = data_dir
        self._passwords = passwords_of(data_dir)
        command = [sys.executable, "-m", "services.devstack.embedded_engine", str(data_dir), str(self.port)]
        self.child = ChildProcess(
            "clickhouse",
            command,
            log=log or data_dir / "server.log",
            # What a process was started with can be read out of it; here may be keys and passwords of others.
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _ENVIRONMENT,
            env_is_all=True,
            to_console=to_console,
        )

    def password(self, role: Role) -> str:
        """Of the user, whose name is the role's."""
        return self._passwords[role]

    def environment(self, role: Role) -> dict[str, str]:
        """What a service's settings read, so that it works as this user."""
        return {
            "HEADRACE_CLICKHOUSE_URL": self.url,
            "HEADRACE_CLICKHOUSE_USER": role.value,
            "HEADRACE_CLICKHOUSE_PASSWORD": self.password(role),
        }

    def join(self, place: Place) -> None:
        """From its next start on it is part of a cluster."""
        self.config = structs.replace(self.config, place=place)

    def launch(self) -> None:
        """Does not wait until it answers."""
        write_config(self._data_dir, self.config, self._passwords)
        self.child.start()

    def start(self, timeout_s: float = 30) -> Self:
        """Returns when it answers. Raises ChildFailedError."""
        self.launch()
        self.child.wait_until(self.answers, timeout_s)
        return self

    def answers(self) -> bool:
        """Another server at the port does not know our password."""
        credentials = base64.b64encode(f"{Role.ADMIN}:{self.password(Role.ADMIN)}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/", b"SELECT 1", {"Authorization": f"Basic {credentials}"})
            answer = connection.getresponse()
            return answer.read() == b"1\n" and answer.status == 200
        return False

    @property
    def pid(self) -> int:
        return self.child.pid

    def stop(self, timeout_s: float = 30) -> int | None:
        return self.child.stop(timeout_s)

    def kill(self) -> None:
        self.child.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
