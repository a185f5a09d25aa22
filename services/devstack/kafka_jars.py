"""Finds out whether Apache Kafka can run here: Java, Maven, and a class path that Maven resolves from our pom."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

POM = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "pom.xml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"
MINIMUM_JAVA = 17
# Enough for some 90 MB on a first run; where Maven can reach nothing it says so within seconds.
RESOLVE_TIMEOUT_S = 180.0
_CONNECT_LIMITS = (
    "-Daether.connector.connectTimeout=5000",
    "-Dmaven.wagon.http.connectionTimeout=5000",
    "-Dmaven.wagon.rto=20000",
)


class KafkaUnavailableError(Exception):
    """Apache Kafka cannot run on this machine; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class KafkaJars:
    """A program and the class path to give it."""

    java: str
    class_path: str


def find_kafka_jars(timeout_s: float = RESOLVE_TIMEOUT_S, pom: Path = POM, cache: Path = CACHE) -> KafkaJars:
    """Milliseconds when it was found before. Raises KafkaUnavailableError."""
    java = _java()
    if not pom.exists():
        raise KafkaUnavailableError(f"{pom} is not there; it comes with the source tree only")
    cached = cache / f"kafka-{hashlib.sha256(pom.read_bytes()).hexdigest()[:16]}.classpath"
    class_path = cached.read_text() if cached.exists() else ""
    if not class_path or not all(map(os.path.exists, class_path.split(os.pathsep))):
        class_path = _resolve(pom, timeout_s)
        cache.mkdir(parents=True, exist_ok=True)
        _write(cached, class_path)
    return KafkaJars(java, class_path)


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise KafkaUnavailableError(f"no Java was found; Apache Kafka needs Java {MINIMUM_JAVA} or later")
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    version = answer.stderr.partition('"')[2].partition('"')[0]
    major = version.split(".")[0]
    if not major.isdigit() or int(major) < MINIMUM_JAVA:
        raise KafkaUnavailableError(
            f"Java is {version or 'of unknown version'}; Apache Kafka needs {MINIMUM_JAVA} or later"
        )
    return java


def _resolve(pom: Path, timeout_s: float) -> str:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError("no Maven (mvn) was found; it brings Apache Kafka's jars")
    with tempfile.NamedTemporaryFile(mode="r", suffix=".classpath") as answer:
        command = [maven, "-q", "-B", "-f", str(pom), "dependency:build-classpath", "-DincludeScope=runtime"]
        command += [f"-Dmdep.outputFile={answer.name}", *_CONNECT_LIMITS]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise KafkaUnavailableError(f"Maven did not resolve Apache Kafka within {timeout_s:g} s") from None
        class_path = answer.read().strip()
    if done.returncode != 0 or not class_path:
        reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), "no reason given")
        raise KafkaUnavailableError(f"Maven did not resolve Apache Kafka: {reason.strip()[:300]}")
    return class_path


def _write(path: Path, text: str) -> None:
    """All or nothing, for another process may look for it at the same time."""
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)
