"""chDB behind ClickHouse's HTTP interface, as a process of its own: `python -m services.devstack.clickhouse_server`.

For development: no users, no TLS, one process a data directory. What was acknowledged survives kill -9.
"""

import argparse
import contextlib
import faulthandler
import http.client
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn

from services.devstack.child_process import ChildProcess, free_port
from services.devstack.data_lock import DataInUseError, locked
from services.runtime.memory import keep_large_blocks

# Clients keep connections open; the server must not be the one that closes a connection just when it is used again.
_KEEP_ALIVE_S = 3600


class ClickHouseProcess:
    """The server as a child process; a context manager. `stop` ends it cleanly, `kill` with SIGKILL."""

    def __init__(
        self, data_dir: Path, port: int | None = None, *, log: Path | None = None, to_console: bool = False
    ) -> None:
        self.port = free_port() if port is None else port
        self.url = f"http://127.0.0.1:{self.port}"
        module = "services.devstack.clickhouse_server"
        command = [sys.executable, "-m", module, "--data", str(data_dir), "--port", str(self.port)]
        self.child = ChildProcess("clickhouse", command, log=log or data_dir / "server.log", to_console=to_console)

    def start(self, timeout_s: float = 30) -> Self:
        """Returns when it answers. Raises ChildFailedError."""
        self.child.start()
        self.child.wait_until(self.answers, timeout_s)
        return self

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
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


def main(arguments: list[str] | None = None) -> int:
    faulthandler.enable()  # a crash in the engine leaves a trace in the log
    keep_large_blocks()
    parser = argparse.ArgumentParser(prog="clickhouse_server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="data directory; made when it is not there")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(arguments)
    try:
        if "?" in str(options.data.resolve()):
            raise _StartError(f"the data directory {options.data} must not have a question mark in its path")
        with locked(options.data), _bound(options.host, options.port) as listener:
            serve(options.data, listener)
    except (DataInUseError, _StartError) as error:
        print(f"clickhouse_server: {error}", file=sys.stderr)
        return 1
    return 0


def serve(data_dir: Path, listener: socket.socket) -> None:
    """Until SIGTERM or SIGINT; then running queries are finished and the engine is closed."""
    # Loading the engine takes a while and 500 MB of address space, which only this process needs.
    from services.devstack.clickhouse.app import ClickHouseApp
    from services.devstack.clickhouse.engine import Engine

    # uvicorn repeats the signal that ended it to the handlers it found; the default ones would end this process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    engine = Engine(data_dir.resolve())
    app = ClickHouseApp(engine)
    try:
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        app.close()
        engine.close()


class _StartError(Exception):
    """Why the server cannot start, for the person who starts it."""


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise _StartError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        yield listener


if __name__ == "__main__":
    sys.exit(main())
