"""Reads the dead-letter topic, and puts repaired letters back into the log, each once.

A letter that is put back gets an event id that depends on the letter alone: the id that it had, its idempotency key, or
its place in the dead-letter topic. So putting it back twice stores it once, within the dedupe window. It belongs to the
letter's project, whatever its payload says, keeps the time when it was first received, and what was deleted since stays away.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from msgspec import Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.log.dead_letter import DeadLetter, Origin, Pieces, decode_dead_letter, payload_text
from services.contract.log.envelope import ID_BYTES, EventLine
from services.contract.log.event_ids import id_of_key
from services.edge.event_log.kafka import KafkaEventLog
from services.edge.event_log.port import EventLog
from services.edge.intake.second_pass import take_track
from services.edge.intake.timestamps import EARLIEST
from services.edge.intake.track import body_of_line
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_now
from services.runtime.deleted import deleted_lines
from services.runtime.kafka import client_options, count_partitions, stop_consumer, topics_of
from services.runtime.partitioning import agreed_partitioning
from services.runtime.settings import EdgeSettings, KafkaSettings

_BATCH = 500


class StoredLetter(Struct, kw_only=True):
    """A dead letter and its place in the topic: of one in pieces, that of its last record; -1 where pieces are missing.
    This is also the form of a line of a repair file."""

    partition: int
    offset: int
    letter: DeadLetter


class Replayed(Struct):
    """What became of the letters of a repair file. `failed`: (partition, offset, reason). `deleted` were not put back,
    because what they say was deleted since."""

    put_back: int = 0
    deleted: int = 0
    failed: list[tuple[int, int, str]] = msgspec.field(default_factory=list)


async def read_letters(settings: KafkaSettings) -> AsyncIterator[StoredLetter]:
    """All letters that are in the topic now, oldest first in each partition. Raises KafkaError."""
    topic = topics_of(settings).dead_letters
    partitions = [TopicPartition(topic, p) for p in range(await count_partitions(settings, topic))]
    if not partitions:
        return  # the topic was not made yet
    consumer = AIOKafkaConsumer(**client_options(settings), auto_offset_reset="earliest", enable_auto_commit=False)
    pieces = Pieces()
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        for tp in partitions:
            async for record in _records(consumer, tp, ends[tp]):
                if record.value is None:
                    continue  # of `headrace check`
                if letter := pieces.add(_letter_of(record)):
                    yield StoredLetter(partition=tp.partition, offset=record.offset, letter=letter)
        for letter in pieces.incomplete():
            yield StoredLetter(partition=-1, offset=-1, letter=letter)
    finally:
        await stop_consumer(consumer)


def _letter_of(record: "ConsumerRecord[bytes, bytes]") -> DeadLetter:
    """What is no letter, which only somebody else can have written, is shown as one, and keeps no other from being read."""
    value = record.value or b""
    try:
        return decode_dead_letter(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        origin = Origin(service="other", topic=record.topic, partition=record.partition, offset=record.offset)
        came = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        message = f"this record is no dead letter: {error}"
        return DeadLetter(code="unreadable_line", message=message, origin=origin, payload=payload_text(value), at=came)


async def _records(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int
) -> "AsyncIterator[ConsumerRecord[bytes, bytes]]":
    """Those of a partition up to its end. The embedded broker says as end where its last batch begins; with the first
    records it says the true one."""
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    is_told = False
    while await consumer.position(tp) < end:
        found = (await consumer.getmany(tp, timeout_ms=1000)).get(tp, [])
        if found and not is_told:
            end, is_told = max(end, consumer.highwater(tp) or 0), True
        for record in found:
            if record.offset < end:
                yield record


async def put_back(settings: EdgeSettings, letters: Sequence[StoredLetter]) -> Replayed:
    """Check each letter's payload again and log the good ones. Raises KafkaError, LogUnavailableError, StoreError."""
    store = await ClickHouse.connect(settings)
    log = KafkaEventLog(settings, lambda count: agreed_partitioning(store, topics_of(settings).events, count))
    replayed = Replayed()
    try:
        await log.start()
        for at in range(0, len(letters), _BATCH):
            await put_some_back(log, store, letters[at : at + _BATCH], replayed)
    finally:
        await log.stop()
        await store.close()
    return replayed


async def put_some_back(log: EventLog, store: ClickHouse, letters: Sequence[StoredLetter], replayed: Replayed) -> None:
    """Adds to `replayed` what became of the letters. Raises LogUnavailableError, StoreError."""
    repaired: list[tuple[bytes, EventLine]] = []
    for stored in letters:
        try:
            repaired.append(repaired_line(stored, utc_now()))
        except ApiError as error:
            replayed.failed.append((stored.partition, stored.offset, error.message))
    deleted = await deleted_lines(store, [line for _, line in repaired])
    kept = [pair for pair, is_deleted in zip(repaired, deleted, strict=True) if not is_deleted]
    replayed.deleted += len(repaired) - len(kept)
    if kept:
        await log.append_events([event_id for event_id, _ in kept], [line for _, line in kept])
        replayed.put_back += len(kept)


def repaired_line(stored: StoredLetter, now: datetime) -> tuple[bytes, EventLine]:
    """The event id and the canonical line of a repaired payload, received when it first was.

    The payload of the worker's letter is a line of the log, or an event as the API takes it; that of the edge's letter is
    an event and nothing else, whatever it looks like: a client wrote it. Raises ApiError when it is still neither.
    """
    letter = stored.letter
    line = _log_line(letter) if letter.origin.service == "worker" else None
    project_id = letter.project_id or (line.project_id if line else "")
    if not project_id:
        raise ApiError(
            ErrorCode.MISSING_FIELD, "nobody could tell whose it is: set `project_id` of the letter to its project"
        )
    # Through the same checks as any event: a repair must not become the next poison.
    payload = letter.payload.encode() if line is None else body_of_line(line)
    if payload.lstrip()[:1] == b"[":
        raise ApiError(ErrorCode.INVALID_FIELD, "a letter holds one event: expected an object, not an array")
    taken = take_track(payload, project_id, _received_at(letter, line, now)).lines[0]
    if line is not None:
        taken.original_timestamp = line.original_timestamp or taken.original_timestamp
    event_id = _own_id(letter, line)
    if event_id is None and taken.idempotency_key:
        event_id = bytes.fromhex(taken.event_id)
    if event_id is None:
        event_id = id_of_key(project_id, f"dead-letter:{stored.partition}:{stored.offset}")
    taken.event_id = event_id.hex()
    return event_id, taken


def _log_line(letter: DeadLetter) -> EventLine | None:
    try:
        return msgspec.json.decode(letter.payload.encode(), type=EventLine)
    except (msgspec.DecodeError, RecursionError):
        return None


def _own_id(letter: DeadLetter, line: EventLine | None) -> bytes | None:
    """The id that the letter has, else that of its line."""
    for text in (letter.event_id, line.event_id if line else ""):
        try:
            event_id = bytes.fromhex(text.replace("-", ""))
        except ValueError:
            continue
        if len(event_id) == ID_BYTES:
            return event_id
    return None


def _received_at(letter: DeadLetter, line: EventLine | None, now: datetime) -> datetime:
    """When it first came. A deletion that was asked for since covers it by that."""
    came = min(_aware(letter.at), now)
    if line is None:
        return came
    received = _aware(line.received_at)
    return received if EARLIEST <= received < came else came


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
