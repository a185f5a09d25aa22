"""The brokers that pipeline tests run on: an address from the environment alone; else Docker or Apache Kafka by
Maven, the stronger that is there, and the embedded one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from services.devstack.broker import KafkaUnavailableError, find_kafka_jars
from services.devstack.child_process import free_port
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
        with _docker() as address:
            yield address
    else:
        yield kind


@contextmanager
def _docker() -> Iterator[str]:
    """One node in KRaft mode. Its port outside is chosen here, because the broker tells it to its clients."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    port = free_port()
    container = (
        DockerContainer(IMAGE)
        .with_bind_ports(9092, port)
        .with_env("KAFKA_NODE_ID", "1")
        .with_env("KAFKA_PROCESS_ROLES", "broker,controller")
        .with_env("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093")
        .with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://127.0.0.1:{port}")
        .with_env("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
        .with_env("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
        .with_env("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1")
        .waiting_for(LogMessageWaitStrategy("Kafka Server started"))
    )
    with container:
        yield f"127.0.0.1:{port}"
