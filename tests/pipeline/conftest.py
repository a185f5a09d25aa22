"""What tests on one broker share."""

from collections.abc import Iterator

import pytest

from services.devstack.apache_kafka import ApacheKafka
from services.devstack.kafka_jars import KafkaUnavailableError, find_kafka_jars
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
