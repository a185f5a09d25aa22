"""Asks Kafka every few seconds whether what this edge was told is kept is still there: see lost_end.py."""

import asyncio
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from services.edge.event_log.lost_end import LostEnd, Mark
from services.runtime.log_reader import LogReader
from services.runtime.logs import get_logger
from services.runtime.settings import KafkaSettings

log = get_logger(__name__)
_EVERY_S = 2.0

Ends = Mapping[TopicPartition, LostEnd]
Marks = Mapping[TopicPartition, list[Mark]]
FirstLater = dict[TopicPartition, dict[Mark, Mark | None]]


async def watch_for_losses(settings: KafkaSettings, ends: Callable[[], Ends]) -> None:
    """For ever. `ends`: of all partitions that were appended to."""
    has_failed = False
    while True:
        await asyncio.sleep(_EVERY_S)
        if not ends():
            continue
        try:
            async with LogReader.connected(settings) as reader:
                while True:
                    await look_for_losses(reader, ends())
                    has_failed = False
                    await asyncio.sleep(_EVERY_S)
        except (KafkaError, TimeoutError, OSError) as error:
            # Kafka is away, as a rule, and is asked again when it is back.
            if not has_failed:
                log.warning("losses_not_looked_for", reason=repr(error))
            has_failed = True
            for end in ends().values():
                end.cannot_look()


async def look_for_losses(reader: LogReader, ends: Ends) -> None:
    """Raises KafkaError."""
    doubtful = {tp: marks for tp, end in ends.items() if (marks := end.doubtful())}
    later = await _first_later(reader, doubtful)
    bounds = await reader.bounds(list(doubtful))
    for tp, found in later.items():
        if tp in bounds:
            suspects = ends[tp].suspects(found, bounds[tp].end)
            there = {mark for mark in suspects if await _is_there(reader, tp, mark)}
            ends[tp].look({mark: begin for mark, begin in suspects.items() if mark not in there}, list(found))


async def _first_later(reader: LogReader, doubtful: Marks) -> FirstLater:
    """One mark of each partition at a time: a request has one time for each."""
    found: FirstLater = {tp: {} for tp in doubtful}
    for turn in range(max(map(len, doubtful.values()), default=0)):
        asked = {tp: marks[turn] for tp, marks in doubtful.items() if turn < len(marks)}
        answers = await reader.first_since({tp: mark.at_ms + 1 for tp, mark in asked.items()})
        for tp, mark in asked.items():
            answer = answers.get(tp)
            found[tp][mark] = None if answer is None else Mark(answer.offset, answer.timestamp)
    return found


async def _is_there(reader: LogReader, tp: TopicPartition, mark: Mark) -> bool:
    """Brokers' clocks may differ: then an older record is later than ours, which is where it was. Whoever may not read the
    topic cannot tell."""
    try:
        found = await reader.records({tp: mark.offset})
    except TopicAuthorizationFailedError:
        return False
    if tp not in found:
        raise KafkaTimeoutError(f"the leader of {tp.topic}/{tp.partition} does not answer")
    record = found[tp]
    return record is not None and Mark(record.offset, record.timestamp) == mark
