"""The machine that a benchmark runs on: what it is, and what a host keeps of it."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tests.bench.stack import Stack

_LIBRARIES = (
    "aiokafka",
    "clickhouse-connect",
    "chdb-core",
    "faust-streaming",
    "msgspec",
    "starlette",
    "uvicorn",
    "uvloop",
)
# Above it others are at work on the machine, and only ratios and CPU times say something.
_QUIET_LOAD = 0.5


def stolen_since(before: Any) -> float:
    """The part of the cores' time since `before` that a virtual machine asked for and did not get; 0 elsewhere."""
    after = psutil.cpu_times()
    passed: float = sum(after[:8]) - sum(before[:8])  # what follows is time of guests, which is in the first, too
    stolen: float = getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)
    return stolen / passed if passed else 0.0


def describe_machine(stack: Stack) -> dict[str, str]:
    """For the head of a report; a machine that is not quiet becomes a note of the stack's."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = os.getloadavg()[0]
    if load > _QUIET_LOAD:
        stack.notes.append(
            f"The machine was not quiet (load average {load:.1f} before the run): trust CPU times and ratios, not rates."
        )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit.stdout.strip() or "unknown",
        "processor": models[0].partition(": ")[2] if models else platform.machine(),
        "cores": f"{stack.cores[0]} and {stack.cores[1]} of {os.cpu_count()}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "broker": stack.broker_kind,
        "engine": f"ClickHouse {stack.engine_version}, its own server from the wheel chdb-core, a process of its own",
        "libraries": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
        "settings": ", ".join(f"{k}={v}" for k, v in os.environ.items() if k.startswith("HEADRACE_")) or "defaults",
    }
