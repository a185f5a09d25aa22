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


def _folder() -> Path:
    """One for each list of pinned versions."""
    return _CACHE / hashlib.sha256((_HERE / "package.json").read_bytes()).hexdigest()[:16]


def modules() -> Path:
    """Where they are installed, once `install` has said so."""
    return _folder() / "node_modules"


def has_node() -> bool:
    return shutil.which("npm") is not None and shutil.which("node") is not None


@cache
def install() -> bool:
    """Whether the SDKs of npm are there, installed when they are not."""
    folder = _folder()
    if (folder / "complete").exists():
        return True
    if not has_node():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_HERE / "package.json", folder)
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_NPM_TIMEOUT_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    if done.returncode != 0:
        return False
    (folder / "complete").touch()
    return True


def missing_because() -> str:
    """Why no SDK of npm runs here; "" where they do. Installs nothing."""
    if not has_node():
        return "there is no Node here"
    return "" if (_folder() / "complete").exists() else "npm could not install them"


class Driver:
    """One SDK. A run that was begun is to be finished."""

    def __init__(self, name: str) -> None:
        self.name = name
        path = next(path for path in (_HERE / "drivers").iterdir() if path.stem == name)
        self._command = [sys.executable if path.suffix == ".py" else "node", str(path)]
        self._needs_node = path.suffix != ".py"

    @property
    def is_here(self) -> bool:
        return not self._needs_node or install()

    def begin(self, host: str, key: str, messages: list[dict[str, Any]]) -> "subprocess.Popen[str]":
        environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
        if self._needs_node:
            environment["SDK_MODULES"] = str(modules())
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
