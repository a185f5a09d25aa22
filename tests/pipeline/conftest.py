"""What tests on one broker share."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from services.devstack.apache_kafka import ApacheKafka
from services.devstack.kafka_jars import KafkaUnavailableError, find_kafka_jars
from tests.support.pipeline import Pipeline
from tests.support.secure_kafka import SecureKafka


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A node of Apache Kafka that nobody stops."""
    try:
        jars = find_kafka_jars()
    except KafkaUnavailableError as reason:
        pytest.skip(f"no Apache Kafka here: {reason}")
    with ApacheKafka(tmp_path_factory.mktemp("apache"), jars) as node:
        yield node


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A node that lets nobody in without a log-in, and allows nothing yet."""
    try:
        jars = find_kafka_jars()
    except KafkaUnavailableError as reason:
        pytest.skip(f"no Apache Kafka here: {reason}")
    kafka = SecureKafka(tmp_path_factory.mktemp("secure"), jars)
    with kafka.node:
        yield kafka


@pytest.fixture(scope="module")
def ingest_key(pipeline: Pipeline) -> str:
    """A key as a producer gets it. Keys in bodies and addresses must have the scope `ingest` alone."""
    settings = dict(line.split("=", 1) for line in shlex.split((pipeline.data_dir / "env").read_text()))
    command = [sys.executable, "-m", "services.cli", "keys", "create", "--project", "development", "--scope", "ingest"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)  # noqa: S603
    return next(word for word in done.stdout.split() if word.startswith("hr_"))
