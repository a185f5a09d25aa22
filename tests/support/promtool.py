"""Prometheus' own checker of rules, where it is installed (Debian's package `prometheus` has it)."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool() -> str | None:
    return shutil.which("promtool")


def run_promtool(*arguments: str | Path) -> str:
    """What it says. Raises AssertionError with it when it is not content."""
    program = promtool()
    assert program is not None
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
