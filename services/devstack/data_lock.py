"""A data directory is one process's at a time and its owner's alone. The lock goes with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.runtime.operator_errors import OperatorError

_LOCK = "lock"


class DataInUseError(OperatorError):
    """Another process has the directory; the message says so to the person who started this one."""


def make_private(directory: Path) -> None:
    """Made when it is not there. It and all that is in it are out of reach for other users of the machine.

    A directory with other things in it, say /tmp, keeps its mode: what is put into it is for the owner alone anyway.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (directory / _LOCK).exists() or not any(directory.iterdir()):
        directory.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """The whole file or none, readable by its owner alone."""
    partial = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Makes the directory when it is not there, for its owner alone. Raises DataInUseError."""
    make_private(data_dir)
    with (data_dir / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataInUseError(f"another process uses the data directory {data_dir}; stop it first") from None
        yield
