"""ClickHouse's engine from the wheel chdb-core as a server: the process, and the one file that knows the wheel's inside.

The wheel runs ClickHouse's local mode, and that can listen when a statement asks for it. It does so for as long as the
statement lasts; the last part of ours never ends by itself. `config.xml` of the working directory is its
configuration. None of this is a documented interface of the wheel: it was tried with one version, and tests hold what
is relied on.

`python -m services.devstack.embedded_engine DATA PORT`: clickhouse_server.py starts it. It finds the password of the user
who may end it in the directory, and leaves that to nobody: neither file nor environment is in the engine's reach. It
imports next to nothing, to be there soon: `import chdb` would start an engine of its own first, and load numpy.
"""

import base64
import contextlib
import ctypes
import http.client
import importlib.metadata
import importlib.util
import json
import os
import signal
import sys
import sysconfig
import threading
import time
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType

from services.devstack.data_lock import DataInUseError, locked
from services.devstack.file_rules import FileRulesError, allow_only

TRIED_WITH = "26.9.0"
_WHEEL = "chdb-core"
_LIBRARY = "chdb/_chdb.abi3.so"
# As the wheel loads it on Linux: its memory allocator must not be mixed up with that of others.
_DEEP_BIND = getattr(os, "RTLD_DEEPBIND", 0)
# A tenth of a second is how long it takes until it is seen that it was killed.
_HOLD = (
    "SELECT sleepEachRow(0.1) FROM system.numbers "
    "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0"
)
LISTEN = f"SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; {_HOLD}"
_OTHERS = "WHERE query_id != queryID() AND user != ''"
_COUNT_OTHERS = f"SELECT count() FROM system.processes {_OTHERS}"
_KILL_OTHERS = f"KILL QUERY {_OTHERS} ASYNC"
# It is the server's default format of answers, too; with others, clients cannot read the server's version.
FORMAT = "TabSeparated"
_ENDING = {signal.SIGTERM, signal.SIGINT}
# Of the system the engine reads libraries, how much memory and how many processors there are, and about itself. Nothing
# of other processes, whose environment may have secrets.
_OF_THE_MACHINE = ("cpuinfo", "loadavg", "meminfo", "stat", "sys", "uptime", "vmstat", "filesystems", "mounts")
_SYSTEM = [Path(path) for path in ("/lib", "/lib64", "/usr/lib", "/usr/share/zoneinfo", "/sys", "/proc/self")] + [
    Path("/proc", name) for name in _OF_THE_MACHINE
]
_DEVICES = [Path("/dev", name) for name in ("null", "random", "urandom")]
# What is running has so long to end by itself, and all of it together so long to be gone.
_PATIENCE_S = 5.0
_END_S = 20.0


class EngineError(Exception):
    """The engine cannot be had, or does not serve; the message is for the person who started it."""


def main(arguments: list[str]) -> int:
    data_dir = Path(arguments[0]).resolve()
    os.umask(0o077)
    try:
        with locked(data_dir):
            serve(data_dir, int(arguments[1]))
    except (DataInUseError, EngineError) as error:
        print(f"clickhouse: {error}", file=sys.stderr)
        return 1
    return 0


def serve(data_dir: Path, port: int) -> None:
    """Until SIGTERM or SIGINT; then what is running has five seconds to end, and the process ends: this never returns.

    The engine is not asked to end by itself: it has crashed doing so just after its start. What it acknowledged survives.
    The data are in `engine`, the configuration is in `config` of the directory. Raises EngineError.
    """
    os.chdir(data_dir / "config")
    administrator = _Administrator(port, json.loads((data_dir / "passwords.json").read_text())["admin"])
    _keep_to_own_files(data_dir)
    # The engine's threads inherit the mask: no signal reaches one of them, and none of its handlers is in the way.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    engine = _Engine(data_dir / "engine")
    engine.start()
    signal.sigwait(_ENDING)
    if engine.reason:
        raise EngineError(_with_version(f"ClickHouse's engine does not serve: {engine.reason}"))
    _end(administrator)
    os._exit(0)


def _keep_to_own_files(data_dir: Path) -> None:
    """Says so where the system cannot. The passwords, which are in the directory itself, are not among the files."""
    (data_dir / "engine").mkdir(exist_ok=True)
    python = [Path(sys.base_prefix) / "lib", *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platlib"))]
    try:
        allow_only([data_dir / "config", *python, *_SYSTEM], [data_dir / "engine", *_DEVICES])
    except FileRulesError as error:
        print(
            f"clickhouse: who has a password of a service can read this user's files with the function `file`: {error}",
            file=sys.stderr,
        )


class _Engine(threading.Thread):
    """The one endless statement. Wakes the main thread when it ends; `reason` is why."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(name="engine", daemon=True)
        self._module = load()
        self._data_dir = data_dir
        self.reason = ""

    def run(self) -> None:
        try:
            self._module.query(LISTEN, FORMAT, path=str(self._data_dir))
            self.reason = "it says above why"
        except Exception as error:  # its own kind of error is in another private module
            self.reason = str(error)
        finally:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _end(administrator: "_Administrator") -> None:
    """Wait until nothing is running, and end what has not ended in time. Raises EngineError."""
    begun = time.monotonic()
    while administrator.ask(_COUNT_OTHERS) not in ("0\n", None):
        waited = time.monotonic() - begun
        if waited > _END_S:
            raise EngineError(f"what was running did not end within {_END_S:g} s")
        if waited > _PATIENCE_S:
            administrator.ask(_KILL_OTHERS)
        time.sleep(0.1)


class _Administrator:
    def __init__(self, port: int, password: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Basic {base64.b64encode(f'admin:{password}'.encode()).decode()}"}

    def ask(self, sql: str) -> str | None:
        """The server's answer; nothing when it gives none in time. None: nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            with contextlib.closing(connection), contextlib.suppress(TimeoutError, http.client.HTTPException):
                connection.request("POST", "/", sql, self._headers)
                return connection.getresponse().read().decode(errors="replace")
        except OSError:
            return None
        return ""


def load() -> ModuleType:
    """The library as a module of its own. Raises EngineError."""
    try:
        library = importlib.metadata.distribution(_WHEEL).locate_file(_LIBRARY)
    except importlib.metadata.PackageNotFoundError:
        raise EngineError(f"{_WHEEL} is not installed; it comes with the extra `devstack` of headrace") from None
    try:
        ctypes.CDLL(str(library), mode=sys.getdlopenflags() | _DEEP_BIND)
        loader = ExtensionFileLoader("_chdb", str(library))
        spec = importlib.util.spec_from_loader("_chdb", loader)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]  # a loader was given
        loader.exec_module(module)
        module.query  # noqa: B018 whether it is there
    except (OSError, ImportError, AttributeError) as error:
        raise EngineError(_with_version(f"ClickHouse's engine cannot be loaded: {error}")) from None
    return module


def installed_version() -> str:
    """Of the wheel that the engine is in."""
    return importlib.metadata.version(_WHEEL)


def _with_version(text: str) -> str:
    if (version := installed_version()) == TRIED_WITH:
        return text
    return f"{text} ({_WHEEL} {version} is installed; this was tried with {TRIED_WITH})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
