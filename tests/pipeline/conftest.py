"""The pipelines, one for each broker that is there, and what tests on one broker share."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from services.devstack.apache_kafka import ApacheKafka
from services.devstack.kafka_jars import KafkaUnavailableError, find_kafka_jars
from tests.support.brokers import broker_kinds, stack_setting
from tests.support.examples import load_profile
from tests.support.pipeline import Pipeline, started_pipeline
from tests.support.secure_kafka import SecureKafka

# What these look at is the same on every broker: they run on the strongest.
_ON_ONE_BROKER = {
    "test_api_page.py",
    "test_console_comfort.py",
    "test_console_dashboards.py",
    "test_console_pages.py",
    "test_console_people.py",
    "test_console_queries.py",
    "test_docs_page.py",
    "test_documents.py",
    "test_noisy_neighbour.py",
    "test_openapi.py",
    "test_operator_view.py",
    "test_sdks.py",
    "test_sdks_browser.py",
    "test_sdks_quota.py",
}

load_profile()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pipeline" in metafunc.fixturenames:
        kinds, _ = broker_kinds()
        if metafunc.definition.path.name in _ON_ONE_BROKER:
            kinds = kinds[:1]
        metafunc.parametrize("pipeline", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The running pipeline on a broker; a test that asks for it runs once on each broker that is there."""
    kind: str = request.param
    with stack_setting(kind) as broker, started_pipeline(tmp_path_factory.mktemp(kind), broker) as running:
        yield running


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
