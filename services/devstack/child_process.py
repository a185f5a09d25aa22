"""A child process that cannot outlive its parent, in a process group of its own, with its output in a log file."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.runtime.operator_errors import OperatorError

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: the child may run only a little Python before it becomes its program.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
# Linux sends the death signal when the *thread* that forked ends; so all children are forked by one lasting thread.
_FORKER = ThreadPoolExecutor(1, thread_name_prefix="forker")
_POLL_S = 0.02


class ChildFailedError(OperatorError):
    """A child ended, or did not become ready in time; the message has the end of its log."""


class ChildProcess:
    """`log` gets standard output and error, behind what it holds already; `to_console` shows them here as well.

    `env` stands before this process's environment, or is all of it: `env_is_all`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        env_is_all: bool = False,
        to_console: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = {**({} if env_is_all else os.environ), **(env or {})}
        self._to_console = to_console
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    def start(self) -> None:
        """Does not wait until it is ready. Raises OSError when the program cannot be run."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = _FORKER.submit(self._fork).result()

    def _fork(self) -> subprocess.Popen[bytes]:
        parent = os.getpid()
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 the commands are the devstack's own
                self._command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._to_console else log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _die_with(parent),
            )
        if process.stdout is not None:
            threading.Thread(target=self._copy_output, args=(process,), daemon=True).start()
        return process

    def _copy_output(self, process: subprocess.Popen[bytes]) -> None:
        with self.log.open("ab", buffering=0) as log, contextlib.suppress(ValueError):
            for line in process.stdout or ():
                log.write(line)
                sys.stderr.write(f"{self.name:>10} | {line.decode(errors='replace')}")

    def poll(self) -> int | None:
        """The exit status; None while it runs. Negative: ended by that signal."""
        return None if self._process is None else self._process.poll()

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Raises ChildFailedError when it ends first, or when the time is over."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.poll() is not None:
                raise ChildFailedError(f"{self.name} ended with status {self.poll()}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ChildFailedError(f"{self.name} was not ready after {timeout_s:g} s:\n{self.log_tail()}")
            time.sleep(_POLL_S)

    def stop(self, timeout_s: float = 30) -> int | None:
        """SIGTERM, then SIGKILL when the time is over. The exit status; None when it was never started."""
        if self._process is None:
            return None
        self.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL to its whole process group; returns when it is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            self._running.send_signal(number)

    def log_tail(self, lines: int = 15) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _die_with(parent: int) -> None:
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it went before the order stood
            os._exit(1)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody else is given while this process lasts; a server may listen at it.

    On Linux it stays bound, with SO_REUSEADDR, and never listens. So the kernel picks it for no connection and for no
    port 0, and a server that sets SO_REUSEADDR, as nearly all do, still binds it. Elsewhere it was free a moment ago.
    """
    probe = socket.socket()
    if sys.platform == "linux":
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    if sys.platform == "linux":
        probe.detach()
    else:
        probe.close()
    return port


def accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
