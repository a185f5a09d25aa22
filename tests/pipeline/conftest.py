"""What tests on one broker share."""

from collections.abc import Iterator

import pytest

from services.devstack.apache_kafka import ApacheKafka
from services.devstack.kafka_jars import KafkaUnavailableError, find_kafka_jars


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A node of Apache Kafka that nobody stops."""
    try:
        jars = find_kafka_jars()
    except KafkaUnavailableError as reason:
        pytest.skip(f"no Apache Kafka here: {reason}")
    with ApacheKafka(tmp_path_factory.mktemp("apache"), jars) as node:
        yield node
