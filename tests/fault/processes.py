"""The services as child processes that can be killed, stopped and continued, and are restarted as a supervisor would."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import psutil

from services.devstack.child_process import ChildProcess, free_port

_POLL_S = 0.1


class OtherBuild(Protocol):
    """Another version of Headrace; see tests/bench/against/build.py."""

    def command(self, *arguments: str) -> list[str]: ...

    @property
    def env(self) -> Mapping[str, str]: ...


class Service:
    """`python -m services.cli <command>`, or a deliberately broken build of it.

    `build`: that of its next start; None: this tree. `wanted`: the supervisor starts it again when it ends. `exits`: how it ended without being asked to. `clock`: a file that
    says by how many seconds its clock is off (see clocks.py); from its next start on.
    """

    def __init__(self, name: str, command: str, env: Mapping[str, str], logs: Path, broken: str | None = None) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.wanted = False
        self.exits: list[int] = []
        self.peak_rss_bytes = 0
        self.overrides: dict[str, str] = {}
        self.clock: Path | None = None
        self.build: OtherBuild | None = None
        self._logs = logs
        self._env = {**env, f"HEADRACE_{command.upper()}_PORT": str(self.port)}
        module = ["services.cli"] if broken is None else ["tests.fault.broken", broken]
        self._module = [*module, command]
        self._child: ChildProcess | None = None
        # One at a time: the supervisor and a fault must not both start it.
        self._changing = asyncio.Lock()

    def begin(self) -> None:
        """Forget what was observed so far, and what was overridden."""
        self.exits.clear()
        self.overrides.clear()
        self.clock = None
        self.peak_rss_bytes = 0

    @property
    def log(self) -> Path:
        return self._logs / f"{self.name}.log"

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_status(self) -> int | None:
        return None if self._child is None else self._child.poll()

    async def start(self) -> None:
        """Does not wait until it is ready."""
        async with self._changing:
            if not self.running:
                await self._launch()
            self.wanted = True

    async def _launch(self) -> None:
        env = {**self._env, **self.overrides}
        clock = ["tests.fault.clocks", str(self.clock)] if self.clock else []
        command = [sys.executable, "-m", *clock, *self._module]
        if self.build is not None:
            command = self.build.command(self._module[-1])
            env |= self.build.env
        self._child = child = ChildProcess(self.name, command, log=self.log, env=env)
        starting = asyncio.ensure_future(asyncio.to_thread(child.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread goes on: a child that comes now would never be stopped.
            await starting
            raise

    async def kill(self) -> None:
        """SIGKILL; it stays down until `start`."""
        self.wanted = False
        async with self._changing:
            if self._child is not None:
                await asyncio.to_thread(self._child.kill)

    async def stop(self, timeout_s: float = 30) -> int | None:
        """SIGTERM; the exit status. It stays down until `start`."""
        self.wanted = False
        async with self._changing:
            return None if self._child is None else await asyncio.to_thread(self._child.stop, timeout_s)

    def pause(self) -> None:
        """SIGSTOP."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._child is not None
        self._child.send_signal(signal.SIGCONT)

    def rss_bytes(self) -> int:
        """Resident memory now; 0 when it does not run."""
        if not self.running or self._child is None:
            return 0
        with contextlib.suppress(psutil.Error):
            rss: int = psutil.Process(self._child.pid).memory_info().rss
            self.peak_rss_bytes = max(self.peak_rss_bytes, rss)
            return rss
        return 0

    async def look_after(self) -> None:
        """Restart it whenever it ends while it is wanted. For ever."""
        while True:
            async with self._changing:
                if self.wanted and (status := self.exit_status) is not None:
                    self.exits.append(status)
                    await self._launch()
            self.rss_bytes()
            await asyncio.sleep(_POLL_S)

    def log_tail(self, lines: int = 30) -> str:
        return self._child.log_tail(lines) if self._child is not None else ""


async def until(condition: object, what: str, timeout_s: float) -> None:
    """Poll `condition`, a function or coroutine function without arguments. Raises TimeoutError that says `what`."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        await asyncio.sleep(_POLL_S)


def python_path(root: Path) -> dict[str, str]:
    """So that children find `services` and `tests` wherever they are started."""
    there = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": str(root) + (os.pathsep + there if there else "")}


async def run_headrace(settings: Mapping[str, str], *arguments: str, build: OtherBuild | None = None) -> str:
    """One `headrace` command; its standard output. Raises RuntimeError with its errors when it fails."""
    command = [sys.executable, "-m", "services.cli", *arguments] if build is None else build.command(*arguments)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **settings, **(build.env if build else {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"headrace {' '.join(arguments)} ended with {process.returncode}: {errors.decode()}")
    return output.decode()
