"""Runs SDKs as an app does, each in a process of its own: tests/support/sdks/drivers says how each is called."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_CACHE = _HERE.parents[2] / ".data" / "sdks"
_TIMEOUT_S = 90
_NPM_TIMEOUT_S = 120


@cache
def node_modules() -> Path | None:
    """The SDKs of npm, installed when they are not there; None where there is no Node, or nothing to install from."""
    pinned = (_HERE / "package.json").read_bytes()
    folder = _CACHE / hashlib.sha256(pinned).hexdigest()[:16]
    modules = folder / "node_modules"
    if (folder / "complete").exists():
        return modules
    if shutil.which("npm") is None or shutil.which("node") is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_bytes(pinned)
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_NPM_TIMEOUT_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        return None
    (folder / "complete").touch()
    return modules


def missing_because() -> str:
    """Why no SDK of npm runs here; "" where they do."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return "there is no Node here"
    return "" if node_modules() else "npm could not install them"


class Driver:
    """One SDK. A run that was begun is to be finished."""

    def __init__(self, name: str) -> None:
        self.name = name
        path = next(path for path in (_HERE / "drivers").iterdir() if path.stem == name)
        self._command = [sys.executable if path.suffix == ".py" else "node", str(path)]
        self._needs_node = path.suffix != ".py"

    @property
    def is_here(self) -> bool:
        return not self._needs_node or node_modules() is not None

    def begin(self, host: str, key: str, messages: list[dict[str, Any]]) -> "subprocess.Popen[str]":
        environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
        if self._needs_node:
            environment["SDK_MODULES"] = str(node_modules())
        process = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"host": host, "key": key, "messages": messages}))
        process.stdin.close()
        process.stdin = None
        return process

    def finish(self, process: "subprocess.Popen[str]") -> str:
        """What it said. Fails when it takes too long."""
        try:
            said, _ = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            raise AssertionError(f"{self.name} did not end; it said: {said[-3000:]}") from None
        assert process.returncode == 0, f"{self.name} failed: {said[-3000:]}"
        return said
