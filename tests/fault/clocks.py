"""A service whose clock is wrong: `python -m tests.fault.clocks <file> <module> ...` runs a module's command, and its wall
clock is off by what the file says, in seconds, at any moment. Nothing in `services` knows of this."""

import runpy
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

# How long a change of the file takes to be seen. The file is not read for each event.
_READ_EVERY_S = 0.05


class WrongClock:
    """Replaces `time.time` and the services' own clock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._right_time = time.time
        self._off_s = 0.0
        self._read_at = -1.0

    def off_s(self) -> float:
        now = time.monotonic()
        if now - self._read_at > _READ_EVERY_S:
            self._read_at = now
            with suppress(OSError, ValueError):  # it is being written
                self._off_s = float(self._file.read_text())
        return self._off_s

    def time(self) -> float:
        return self._right_time() + self.off_s()

    def utc_now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.off_s())


if __name__ == "__main__":
    clock = WrongClock(Path(sys.argv.pop(1)))
    from services.runtime import clock as of_services

    time.time = clock.time
    of_services.utc_now = clock.utc_now  # before anybody else has imported it
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
