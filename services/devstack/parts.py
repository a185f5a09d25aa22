"""Child processes that belong together: started in order, waited for together, and when one dies the others know."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.devstack.child_process import ChildFailedError, ChildProcess

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Part:
    """A child process: how it is started, without waiting for it, and how one sees that it serves."""

    child: ChildProcess
    launch: Callable[[], None]
    is_ready: Callable[[], bool]

    @property
    def name(self) -> str:
        return self.child.name


class Parts:
    """All that was started. Whoever waits for one part learns of the death of any."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._parts: list[Part] = []

    def start(self, part: Part) -> Part:
        """Does not wait. The log of the run before is kept beside the new one."""
        log = part.child.log
        if log.exists():
            log.replace(log.with_name(f"{log.name}.1"))
        self._parts.append(part)
        part.launch()
        return part

    def wait_until_ready(self, parts: Sequence[Part], timeout_s: float) -> None:
        """Raises ChildFailedError when any part dies, or when the time is over."""
        deadline = time.monotonic() + timeout_s
        waiting = list(parts)
        while waiting:
            self.check()
            for part in [part for part in waiting if part.is_ready()]:
                waiting.remove(part)
                self._say(f"{part.name} is ready")
            if waiting and time.monotonic() > deadline:
                late = waiting[0]
                raise ChildFailedError(f"{late.name} was not ready after {timeout_s:g} s:\n{late.child.log_tail()}")
            time.sleep(_POLL_S)

    def watch(self) -> None:
        """Returns never; raises ChildFailedError when a part dies."""
        while True:
            self.check()
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raises ChildFailedError when a part has ended."""
        for part in self._parts:
            status = part.child.poll()
            if status is not None:
                raise ChildFailedError(f"{part.name} ended with status {status}:\n{part.child.log_tail()}")

    def are_running(self, *names: str) -> bool:
        running = {part.name for part in self._parts if part.child.poll() is None}
        return running.issuperset(names)

    def stop(self, name: str, timeout_s: float) -> None:
        """Nothing to do when it was never started, or has ended."""
        for part in self._parts:
            if part.name == name:
                part.child.stop(timeout_s)

    def stop_all(self, timeout_s: float) -> None:
        """Against the order in which they were started."""
        for part in reversed(self._parts):
            part.child.stop(timeout_s)
