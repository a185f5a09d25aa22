"""Whether Apache Kafka can run here is found out quickly, and a 'no' says what is missing."""

import stat
from pathlib import Path

import pytest

from services.devstack.kafka_jars import KafkaUnavailableError, find_kafka_jars

JAVA = 'echo "openjdk version \\"{version}\\"" >&2'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def put(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_no_java(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(KafkaUnavailableError, match="no Java"):
        find_kafka_jars(cache=tmp_path)


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.1", ""])
def test_old_java(programs: Path, tmp_path: Path, version: str) -> None:
    put(programs, "java", JAVA.format(version=version))
    with pytest.raises(KafkaUnavailableError, match="needs 17 or later"):
        find_kafka_jars(cache=tmp_path)


def test_no_maven(programs: Path, tmp_path: Path) -> None:
    put(programs, "java", JAVA.format(version="21.0.2"))
    with pytest.raises(KafkaUnavailableError, match="no Maven"):
        find_kafka_jars(cache=tmp_path)


def test_maven_resolves_nothing(programs: Path, tmp_path: Path) -> None:
    put(programs, "java", JAVA.format(version="17.0.15"))
    put(programs, "mvn", "echo '[ERROR] unknown host'; exit 1")
    with pytest.raises(KafkaUnavailableError, match="unknown host"):
        find_kafka_jars(cache=tmp_path)


def test_maven_hangs(programs: Path, tmp_path: Path) -> None:
    put(programs, "java", JAVA.format(version="17.0.15"))
    put(programs, "mvn", "exec /bin/sleep 30")
    with pytest.raises(KafkaUnavailableError, match=r"within 0\.2 s"):
        find_kafka_jars(timeout_s=0.2, cache=tmp_path)


def test_what_was_resolved_is_kept(programs: Path, tmp_path: Path) -> None:
    jar = tmp_path / "a.jar"
    jar.touch()
    put(programs, "java", JAVA.format(version="17.0.15"))
    answer = 'for a in "$@"; do case $a in -Dmdep.outputFile=*) echo ' + str(jar) + ' > "${a#*=}";; esac; done'
    put(programs, "mvn", answer)
    assert find_kafka_jars(cache=tmp_path).class_path == str(jar)
    put(programs, "mvn", "exit 1")
    assert find_kafka_jars(cache=tmp_path).class_path == str(jar)
    jar.unlink()
    with pytest.raises(KafkaUnavailableError):
        find_kafka_jars(cache=tmp_path)
