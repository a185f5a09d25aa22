"""Reads the dead-letter topic, and puts repaired letters back into the log, each once.

A letter that is put back gets an event id that depends on the letter alone: its idempotency key, the event id of its
line, or its place in the dead-letter topic. So putting it back twice stores it once, within the dedupe window.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Raw, Struct

from services.contract.api.errors import ApiError
from services.contract.log.dead_letter import DeadLetter, decode_dead_letter
from services.contract.log.envelope import EventLine
from services.contract.log.event_ids import id_of_key
from services.edge.event_log.kafka import KafkaEventLog
from services.edge.intake.track import take_track
from services.runtime.clock import utc_now
from services.runtime.kafka import count_partitions, topics_of
from services.runtime.settings import EdgeSettings, KafkaSettings

_BATCH = 500


class StoredLetter(Struct, kw_only=True):
    """A dead letter and its place in the topic. This is also the form of a line of a repair file."""

    partition: int
    offset: int
    letter: DeadLetter


class Replayed(Struct):
    """What became of the letters of a repair file. `failed`: (partition, offset, reason)."""

    put_back: int = 0
    failed: list[tuple[int, int, str]] = msgspec.field(default_factory=list)


async def read_letters(settings: KafkaSettings) -> AsyncIterator[StoredLetter]:
    """All letters that are in the topic now, oldest first in each partition. Raises KafkaError."""
    topic = topics_of(settings).dead_letters
    partitions = [TopicPartition(topic, p) for p in range(await count_partitions(settings, topic))]
    if not partitions:
        return  # the topic was not made yet
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap.split(","), auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        for tp in partitions:
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            while await consumer.position(tp) < ends[tp]:
                for record in (await consumer.getmany(tp, timeout_ms=1000)).get(tp, []):
                    if record.offset < ends[tp]:
                        letter = decode_dead_letter(record.value)
                        yield StoredLetter(partition=tp.partition, offset=record.offset, letter=letter)
    finally:
        await consumer.stop()


async def put_back(settings: EdgeSettings, letters: Sequence[StoredLetter]) -> Replayed:
    """Check each letter's payload again and log the good ones. Raises KafkaError, LogUnavailableError."""
    log = KafkaEventLog(settings)
    await log.start()
    replayed = Replayed()
    try:
        for at in range(0, len(letters), _BATCH):
            ids, lines = [], []
            for stored in letters[at : at + _BATCH]:
                try:
                    event_id, line = repaired_line(stored, utc_now())
                except ApiError as error:
                    replayed.failed.append((stored.partition, stored.offset, error.message))
                    continue
                ids.append(event_id)
                lines.append(line)
            if lines:
                await log.append_events(ids, lines)
                replayed.put_back += len(lines)
    finally:
        await log.stop()
    return replayed


def repaired_line(stored: StoredLetter, now: datetime) -> tuple[bytes, EventLine]:
    """The event id and the canonical line of a repaired payload: a line of the log, or an event as the API takes it.

    Raises ApiError when it is still neither.
    """
    payload = stored.letter.payload.encode()
    try:
        line = msgspec.json.decode(payload, type=EventLine)
        project_id = line.project_id or stored.letter.project_id
        event_id = bytes.fromhex(line.event_id.replace("-", ""))
        if len(event_id) != 16:
            raise ValueError("event_id")
    except (msgspec.DecodeError, ValueError):
        return _from_event(stored, payload, now)
    # Through the same checks as any event: a repair must not become the next poison.
    checked = _take(
        {
            "event": line.event,
            "distinct_id": line.distinct_id,
            "timestamp": line.timestamp,
            "properties": Raw(bytes(line.properties)),
        },
        project_id,
        now,
    )
    checked.event_id = event_id.hex()
    checked.idempotency_key = line.idempotency_key
    return event_id, checked


def _from_event(stored: StoredLetter, payload: bytes, now: datetime) -> tuple[bytes, EventLine]:
    place = f"dead-letter:{stored.partition}:{stored.offset}"
    intake = take_track(payload, stored.letter.project_id, now, None)
    line = intake.lines[0]
    if line.idempotency_key:
        return intake.ids[0], line
    event_id = id_of_key(stored.letter.project_id, place)
    line.event_id = event_id.hex()
    if line.timestamp == now:
        line.timestamp = stored.letter.at  # no time of its own: it happened when it first came
    return event_id, line


def _take(event: dict[str, object], project_id: str, now: datetime) -> EventLine:
    return take_track(msgspec.json.encode(event), project_id, now, None).lines[0]
