"""What `make load` needs: whether a Docker engine answers, and what to do where none does."""

import contextlib
from pathlib import Path

import docker  # type: ignore[import-untyped]  # a dependency of testcontainers
from docker.errors import DockerException  # type: ignore[import-untyped]

# The producers' interpreter, which `make load` makes.
PYTHON = Path(__file__).resolve().parents[2] / ".venv-load" / "bin" / "python"
# Of the oldest engine. Given here, a client can be made, and closed again, where none answers.
_API = "1.41"
ADVICE = """\
No Docker engine answers{reason}. This needs one, version 20.10 or newer:
  Debian, Ubuntu   apt-get install docker.io
  others           https://docs.docker.com/engine/install/
Then let this user reach it (`docker info` must work), or set DOCKER_HOST to where it listens.
It fetches the images apache/kafka and clickhouse/clickhouse-server, and builds ours. Where no registry of images can be
reached: docs/how-to/load-test.md"""


def missing_engine() -> str:
    """Empty where an engine answers; else what to install."""
    try:
        with contextlib.closing(docker.from_env(version=_API, timeout=5)) as client:
            client.ping()
    except (DockerException, OSError) as error:
        return ADVICE.format(reason=f" ({error})")
    return ""
