"""Lets one process at a time use a data directory; the lock goes with the process, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.runtime.operator_errors import OperatorError


class DataInUseError(OperatorError):
    """Another process has the directory; the message says so to the person who started this one."""


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Makes the directory when it is not there. Raises DataInUseError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataInUseError(f"another process uses the data directory {data_dir}; stop it first") from None
        yield
