"""What an edge needs of ClickHouse, kept in a compacted topic as well: an edge that starts while ClickHouse is away accepts.

Keys are there by their hash, as in ClickHouse. Each edge writes what it has found to differ.
"""

import asyncio
from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from services.contract.log.topics import Partitioning
from services.runtime.kafka import client_options, make_producer, stop_consumer, topics_of
from services.runtime.keys import Key, KeysNotKeptError
from services.runtime.settings import KafkaSettings

_KEY = b"key:"
_SPREAD = b"partitioning"
_TIMEOUT_S = 10.0
_WAIT_MS = 1000
_LOOK_EVERY_S = 0.5


class KnownTopic:
    """A KeyBackup, and the same for how ids are spread. Connects for each call: there are few."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topic = topics_of(settings).known

    async def read(self) -> dict[str, Key]:
        """The keys. Raises KeysNotKeptError."""
        try:
            values = await self._values()
        except (KafkaError, OSError, TimeoutError) as error:
            raise KeysNotKeptError(repr(error)) from error
        return {
            name.removeprefix(_KEY).decode(): msgspec.json.decode(value, type=Key)
            for name, value in values.items()
            if name.startswith(_KEY)
        }

    async def write(self, changes: Mapping[str, Key | None]) -> None:
        """None: the key is no more. Raises KeysNotKeptError."""
        try:
            await self._send(
                {
                    _KEY + name.encode(): None if key is None else msgspec.json.encode(key)
                    for name, key in changes.items()
                }
            )
        except (KafkaError, OSError, TimeoutError) as error:
            raise KeysNotKeptError(repr(error)) from error

    async def read_spread(self) -> Partitioning | None:
        """Raises KafkaError, OSError."""
        value = (await self._values()).get(_SPREAD)
        return None if value is None else msgspec.json.decode(value, type=Partitioning)

    async def write_spread(self, spread: Partitioning) -> None:
        """Raises KafkaError, OSError."""
        if await self.read_spread() != spread:
            await self._send({_SPREAD: msgspec.json.encode(spread)})

    async def _send(self, values: Mapping[bytes, bytes | None]) -> None:
        producer = make_producer(self._settings, timeout_s=_TIMEOUT_S)
        try:
            await producer.start()
            sent = [await producer.send(self._topic, value, key=name, partition=0) for name, value in values.items()]
            for acknowledged in sent:
                await acknowledged
        finally:
            await producer.stop()

    async def _values(self) -> dict[bytes, bytes]:
        """The last of each name."""
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        place = TopicPartition(self._topic, 0)
        values: dict[bytes, bytes | None] = {}
        try:
            await consumer.start()
            await self._until_visible(consumer)
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            await consumer.seek_to_beginning(place)
            while await consumer.position(place) < end:
                for record in (await consumer.getmany(place, timeout_ms=_WAIT_MS)).get(place, []):
                    values[record.key or b""] = record.value
                # The embedded broker says as end where its last batch begins.
                end = max(end, consumer.highwater(place) or 0)
        finally:
            await stop_consumer(consumer)
        return {name: value for name, value in values.items() if value is not None}

    async def _until_visible(self, consumer: AIOKafkaConsumer) -> None:
        """Of a topic that it cannot see aiokafka asks the brokers 2,000 times a second, with a line in the log each time."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                while self._topic not in await consumer.topics():  # noqa: ASYNC110 the brokers tell nobody
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            raise KafkaTimeoutError(f"{self._topic} is not there, or may not be read by us") from None
