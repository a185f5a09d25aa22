"""Finds the places where reading goes on, with what the log says, and tells of what was lost."""

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from prometheus_client import Counter

from services.runtime.log_reader import Bounds, LogReader
from services.runtime.logs import get_logger
from services.worker.consumer.place import (
    LOSSES,
    Mark,
    Note,
    Place,
    decode_note,
    digest_of,
    find_place,
    marks_to_try,
)

log = get_logger(__name__)

LOST = Counter(
    "headrace_worker_lost_records_total",
    "Kafka records that were in the log and are gone, and that no worker had read. The log names their offsets.",
    ["topic", "partition", "reason"],
)
CUTS = Counter(
    "headrace_worker_log_cuts_total",
    "How often a partition's log was found without its end; what it still holds is read again.",
    ["topic", "partition"],
)
# A leader that has just been elected may not know the log's end yet. What looks lost is looked at once more.
_LOOK_AGAIN_S = 1.0


async def find_places(
    reader: LogReader, committed: Mapping[TopicPartition, OffsetAndMetadata]
) -> dict[TopicPartition, Place]:
    """Where to go on in each partition; a `committed` offset below 0 says that nothing was. A partition whose leader
    does not answer has no place in the answer."""
    count_from_zero(committed)
    places = await _look(reader, committed)
    if doubtful := {tp: committed[tp] for tp, place in places.items() if place.moved}:
        await asyncio.sleep(_LOOK_AGAIN_S)
        places.update(await _look(reader, doubtful))
    return places


def count_from_zero(partitions: Iterable[TopicPartition]) -> None:
    """A series that is born at its first loss has no increase, and no alarm sees that one."""
    for tp in partitions:
        CUTS.labels(tp.topic, tp.partition)
        for reason in LOSSES:
            LOST.labels(tp.topic, tp.partition, reason)


async def _look(
    reader: LogReader, committed: Mapping[TopicPartition, OffsetAndMetadata]
) -> dict[TopicPartition, Place]:
    bounds = await reader.bounds(list(committed))
    notes = {tp: decode_note(committed[tp].metadata) for tp in bounds}
    holds = await _marks_that_hold(reader, notes, bounds)
    return {
        tp: find_place(None if committed[tp].offset < 0 else committed[tp].offset, notes[tp], bounds[tp], mark)
        for tp, mark in holds.items()
    }


async def _marks_that_hold(
    reader: LogReader, notes: Mapping[TopicPartition, Note], bounds: Mapping[TopicPartition, Bounds]
) -> dict[TopicPartition, Mark | None]:
    """The newest mark of each partition whose record is still the same. Usually the first: one look for all."""
    waiting = {tp: marks_to_try(note, bounds[tp]) for tp, note in notes.items()}
    holds: dict[TopicPartition, Mark | None] = {}
    while waiting:
        asked = {tp: mark for tp, marks in waiting.items() if (mark := next(marks, None))}
        holds.update(dict.fromkeys(waiting.keys() - asked.keys(), None))
        records = await reader.records({tp: mark.offset for tp, mark in asked.items()})
        same = {tp: mark for tp, mark in asked.items() if tp in records and _is_same(records[tp], mark)}
        holds.update(same)
        waiting = {tp: waiting[tp] for tp in records.keys() - same.keys()}
    return holds


async def still_there(reader: LogReader, marks: Mapping[TopicPartition, Mark]) -> set[TopicPartition]:
    """Those whose record is still the same, or was deleted with the beginning of the log."""
    bounds = await reader.bounds(list(marks))
    inside = {tp: marks[tp] for tp, log_ in bounds.items() if log_.start <= marks[tp].offset < log_.end}
    records = await reader.records({tp: mark.offset for tp, mark in inside.items()})
    deleted = {tp for tp, log_ in bounds.items() if marks[tp].offset < log_.start}
    return deleted | {tp for tp, record in records.items() if _is_same(record, marks[tp])}


def _is_same(record: ConsumerRecord | None, mark: Mark) -> bool:
    return record is not None and Mark(record.offset, digest_of(record)) == mark


def tell_of_losses(topic: str, partition: int, committed: int, place: Place) -> None:
    """Count and name what is gone: by partition and offsets, `end` not included."""
    for loss in place.losses:
        LOST.labels(topic, partition, loss.reason).inc(loss.end - loss.begin)
        log.critical(
            "records_lost", topic=topic, partition=partition, begin=loss.begin, end=loss.end, reason=loss.reason
        )
    if place.offset < committed:
        CUTS.labels(topic, partition).inc()
        log.error("log_cut", topic=topic, partition=partition, committed=committed, read_again_from=place.offset)
