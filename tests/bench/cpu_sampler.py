"""Where the main thread's CPU time goes: a timer of consumed CPU time interrupts it and looks at the stack.

Unlike a profiler that looks at fixed times from outside, it tells computing from waiting for a core, so it is of use on
a machine where others work too. What C code used is found at the line that called it, or at the next one.
"""

import signal
import time
from collections.abc import Callable
from types import FrameType

_EVERY_S = 0.002


class CpuSampler:
    """Calls `take` with the interrupted frame and the CPU seconds since the last interruption."""

    def __init__(self, take: Callable[[FrameType | None, float], None]) -> None:
        self._take = take
        self._last_s = time.thread_time()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._interrupt)
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.thread_time()
        self._take(frame, now - self._last_s)
        self._last_s = now
