"""The brokers that pipeline tests run on: an address from the environment alone; else Docker or Apache Kafka by
Maven, the stronger that is there, and the embedded one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from services.devstack.broker import KafkaUnavailableError, find_kafka_jars
from tests.support.engine import docker_answers

ADDRESS = "HEADRACE_TEST_KAFKA"
IMAGE = "apache/kafka:4.1.1"


@cache
def broker_kinds() -> tuple[list[str], str]:
    """environment, docker, apache, embedded: those to run on, and why a stronger one is not among them."""
    if os.environ.get(ADDRESS):
        return ["environment"], ""
    if docker_answers():
        return ["docker", "embedded"], ""
    try:
        find_kafka_jars()
    except KafkaUnavailableError as error:
        return ["embedded"], f"no Docker engine answers, and Apache Kafka is not available: {error}"
    return ["apache", "embedded"], ""


@contextmanager
def stack_setting(kind: str) -> Iterator[str]:
    """What HEADRACE_BROKER has to be for a broker of this kind."""
    if kind == "environment":
        yield os.environ[ADDRESS]
    elif kind == "docker":
        from testcontainers.kafka import KafkaContainer

        with KafkaContainer(IMAGE).with_kraft() as container:
            yield container.get_bootstrap_server()
    else:
        yield kind
