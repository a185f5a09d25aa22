"""Runs SDKs as an app does, each in a process of its own: tests/support/sdks/drivers says how each is called."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

from services.devstack.kafka_jars import KafkaJars, KafkaUnavailableError, find_kafka_jars

_HERE = Path(__file__).parent
_CACHE = _HERE.parents[2] / ".data" / "sdks"
_TIMEOUT_S = 90
_NPM_TIMEOUT_S = 120
_GO_TIMEOUT_S = 300
# What a JVM does for the long run only costs.
_SHORT_LIVED = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"]


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


@cache
def _jars() -> KafkaJars | str:
    """The SDKs of Java, by Maven as Kafka's jars are; else why none of them runs here."""
    try:
        jars = find_kafka_jars(pom=_HERE / "pom.xml")
    except KafkaUnavailableError as error:
        said = str(error).replace("Apache Kafka's jars", "them").replace("Apache Kafka needs", "they need")
        return said.replace("Apache Kafka", "the SDKs of Java")
    if not Path(jars.java).resolve().with_name("javac").exists():
        return "Java is here without its compiler"
    return jars


def missing_java_because() -> str:
    """As `missing_because`, of the SDKs of Java."""
    jars = _jars()
    return jars if isinstance(jars, str) else ""


def _go_program() -> Path:
    """All SDKs of Go are one program. One for each text of it, and each list of pinned versions."""
    parts = sorted([_HERE / "go.mod", _HERE / "go.sum", *(_HERE / "drivers").glob("*.go")])
    return _CACHE / f"go-{hashlib.sha256(b''.join(part.read_bytes() for part in parts)).hexdigest()[:16]}"


@cache
def build() -> bool:
    """Whether the SDKs of Go are there, compiled when they are not."""
    program = _go_program()
    if program.exists():
        return True
    go = shutil.which("go")
    if go is None:
        return False
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    run = partial(subprocess.run, cwd=_HERE, env=environment, capture_output=True, text=True, timeout=_GO_TIMEOUT_S)
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    try:
        if run([go, "mod", "download"]).returncode != 0:
            return False
        built = run([go, "build", "-ldflags=-s -w", "-o", str(unfinished), "./drivers"])
    except subprocess.TimeoutExpired:
        return False
    assert built.returncode == 0, f"the drivers of Go are wrong: {built.stderr[-3000:]}"
    unfinished.replace(program)
    return True


def missing_go_because() -> str:
    """As `missing_because`, of the SDKs of Go. Compiles nothing."""
    if _go_program().exists():
        return ""
    return "there is no Go here" if shutil.which("go") is None else "Go could not fetch them"


_MISSING_BECAUSE = {".java": missing_java_because, ".go": missing_go_because}


class Driver:
    """One SDK. A run that was begun is to be finished."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._path = next(path for path in (_HERE / "drivers").iterdir() if path.stem == name)

    @property
    def is_here(self) -> bool:
        match self._path.suffix:
            case ".java":
                return not missing_java_because()
            case ".go":
                return build()
            case ".py":
                return True
        return install()

    @property
    def missing_because(self) -> str:
        return _MISSING_BECAUSE.get(self._path.suffix, missing_because)()

    def _command(self) -> list[str]:
        if self._path.suffix == ".go":
            return [str(_go_program()), self.name]
        jars = _jars() if self._path.suffix == ".java" else ""
        if isinstance(jars, KafkaJars):
            return [jars.java, *_SHORT_LIVED, "-cp", jars.class_path, str(self._path)]
        return [sys.executable if self._path.suffix == ".py" else "node", str(self._path)]

    def begin(self, host: str, key: str, messages: list[dict[str, Any]]) -> "subprocess.Popen[str]":
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "SDK_MODULES": str(modules())}
        process = subprocess.Popen(  # noqa: S603
            self._command(),
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
