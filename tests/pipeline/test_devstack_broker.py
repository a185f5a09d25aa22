"""The brokers of the development stack: the same checks for each, and what only one of them has."""

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from services.devstack.apache_kafka import ApacheKafka, start_cluster, stop_cluster
from services.devstack.broker import Broker, EmbeddedBroker
from services.devstack.child_process import ChildFailedError
from services.devstack.kafka_jars import KafkaJars, KafkaUnavailableError, find_kafka_jars


@pytest.fixture(scope="module")
def jars() -> KafkaJars:
    try:
        return find_kafka_jars()
    except KafkaUnavailableError as reason:
        pytest.skip(f"no Apache Kafka here: {reason}")


@pytest.fixture(scope="module", params=["embedded", "apache"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    data = tmp_path_factory.mktemp("broker")
    started: Broker
    if request.param == "embedded":
        started = EmbeddedBroker(data / "broker.log")
    else:
        started = ApacheKafka(data, request.getfixturevalue("jars"))
    started.start()
    yield started
    started.stop()
    assert started.child.poll() is not None


async def new_topic(bootstrap: str, replication: int = 1) -> str:
    topic = f"t-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 2, replication)])
    finally:
        await admin.close()
    return topic


@asynccontextmanager
async def producer(bootstrap: str, *, idempotence: bool) -> AsyncIterator[AIOKafkaProducer]:
    made = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=idempotence)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, p) for p in range(2)])
        await consumer.seek_to_beginning()
        values: list[bytes] = []
        async with asyncio.timeout(20):
            while len(values) < count:
                records = await consumer.getmany(timeout_ms=500)
                values += [r.value for batch in records.values() for r in batch]
        return sorted(values)
    finally:
        await consumer.stop()


async def test_records_come_back(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap)
    async with producer(broker.bootstrap, idempotence=broker.idempotent_producer) as out:
        for number in range(10):
            await out.send_and_wait(topic, b"%d" % number, partition=number % 2)
    assert await read(broker.bootstrap, topic, 10) == [b"%d" % n for n in range(10)]


async def test_a_group_keeps_its_offsets(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap, group_id=topic, enable_auto_commit=False, session_timeout_ms=6000
    )
    await consumer.start()
    await consumer.commit({TopicPartition(topic, 0): 7})
    await consumer.stop()
    again = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, group_id=topic, enable_auto_commit=False, session_timeout_ms=6000
    )
    await again.start()
    assert await again.committed(TopicPartition(topic, 0)) == 7
    await again.stop()


async def test_the_embedded_broker_has_no_idempotent_producer(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "broker.log") as broker, pytest.raises((KafkaError, TimeoutError)):
        async with asyncio.timeout(2), producer(broker.bootstrap, idempotence=True) as out:
            await out.send_and_wait(await new_topic(broker.bootstrap), b"x")


async def test_apache_kafka_keeps_its_data(tmp_path: Path, jars: KafkaJars) -> None:
    node = ApacheKafka(tmp_path, jars).start()
    try:
        topic = await new_topic(node.bootstrap)
        endings: list[Callable[[], None]] = [node.kill, node.stop]
        for number, end in enumerate(endings, 1):
            async with producer(node.bootstrap, idempotence=True) as out:
                await out.send_and_wait(topic, b"%d" % number)
            end()
            node.start()
            assert len(await read(node.bootstrap, topic, number)) == number
    finally:
        node.stop()


async def test_a_cluster_does_without_one_node(tmp_path: Path, jars: KafkaJars) -> None:
    cluster = start_cluster(tmp_path, jars)
    bootstrap = [node.bootstrap for node in cluster]
    try:
        topic = await new_topic(",".join(bootstrap), replication=3)
        async with producer(",".join(bootstrap), idempotence=True) as out:
            await out.send_and_wait(topic, b"1", partition=0)
            cluster[0].kill()
            async with asyncio.timeout(40):
                await out.send_and_wait(topic, b"2", partition=0)
                await out.send_and_wait(topic, b"3", partition=1)
            cluster[0].start()
            await out.send_and_wait(topic, b"4", partition=0)
        assert await read(",".join(bootstrap), topic, 4) == [b"1", b"2", b"3", b"4"]
    finally:
        stop_cluster(cluster)


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "first.log") as first:
        second = EmbeddedBroker(tmp_path / "second.log", port=first.port)
        second.child.start()
        with pytest.raises(ChildFailedError, match="broker ended with status"):
            second.child.wait_until(lambda: False, timeout_s=10)


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from services.devstack.broker import EmbeddedBroker;"
        "b = EmbeddedBroker(Path(sys.argv[1])).start(); print(b.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "broker.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:  # noqa: S603
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    deadline = time.monotonic() + 10
    while _is_alive(child):
        assert time.monotonic() < deadline, "the broker outlived its parent"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_embedded_broker_needs_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.touch()  # a file: nobody can make anything below it, root no more than others
    monkeypatch.setenv("HOME", str(home))
    with EmbeddedBroker(tmp_path / "broker.log") as broker:
        assert broker.answers()
    assert home.read_bytes() == b""
