"""Where reading goes on: nothing that the log still holds is passed over, and what is gone is named exactly.

The log here is a list; a worker that commits, a log that is cut, grows and loses its beginning, in any order.
"""

from typing import Any

import pytest
from aiokafka import ConsumerRecord

from services.runtime.log_reader import Bounds
from services.worker.consumer.place import (
    Loss,
    Mark,
    Note,
    Place,
    Reading,
    decode_note,
    digest_of,
    find_place,
    marks_to_try,
)


def record(offset: int, text: str) -> ConsumerRecord:
    headers = (("ids", text.encode()),)
    return ConsumerRecord("t", 0, offset, 1_700_000_000_000, 0, None, b"line\n", None, -1, 5, headers)


class Log:
    """A partition's log: what was written at each offset, from `start` on."""

    def __init__(self) -> None:
        self.start = 0
        self.texts: list[str] = []
        self._written = 0

    @property
    def end(self) -> int:
        return len(self.texts)

    def append(self, count: int) -> None:
        self.texts += [f"{self._written + n}" for n in range(count)]
        self._written += count

    def cut(self, count: int) -> None:
        del self.texts[max(self.start, self.end - count) :]

    def forget(self, count: int) -> None:
        self.start = min(self.end, self.start + count)

    def place(self, committed: int | None, note: Note) -> Place:
        bounds = Bounds(self.start, self.end)
        holds = next(
            (
                mark
                for mark in marks_to_try(note, bounds)
                if digest_of(record(mark.offset, self.texts[mark.offset])) == mark.digest
            ),
            None,
        )
        return find_place(committed, note, bounds, holds)


class Worker:
    """Reads up to the end or not so far, and commits as the worker does."""

    def __init__(self) -> None:
        self.committed: int | None = None
        self.metadata = ""
        self.stored: set[str] = set()

    def work(self, log: Log, most: int) -> Place:
        place = log.place(self.committed, decode_note(self.metadata))
        reading = Reading(place.note)
        until = min(log.end, place.offset + most)
        for offset in range(place.offset, until):
            self.stored.add(log.texts[offset])
            reading.read(record(offset, log.texts[offset]))
        self.committed, self.metadata = until, reading.note_at(until, log.end).encode()
        return place


def read(log: Log, *most: int) -> Worker:
    worker = Worker()
    for count in most:
        worker.work(log, count)
    return worker


def test_a_log_as_it_was_goes_on_at_what_was_committed() -> None:
    log = Log()
    log.append(100)
    worker = read(log, 60)
    assert worker.work(log, 0) == Place(60, decode_note(worker.metadata))


def test_a_log_that_was_cut_is_read_from_the_newest_record_that_is_the_same() -> None:
    log = Log()
    log.append(100)
    worker = read(log, *[10] * 10)
    log.cut(15)
    log.append(50)
    place = worker.work(log, 0)
    assert place.moved
    assert place.losses == ()
    assert 60 < place.offset <= 85


def test_what_nobody_had_read_is_named_when_the_end_is_lost() -> None:
    log = Log()
    log.append(100)
    worker = read(log, 60)
    log.cut(30)
    assert worker.work(log, 0).losses == (Loss("the log has lost its end", 70, 100),)
    assert worker.work(log, 0).losses == ()


def test_what_nobody_had_read_is_named_when_the_log_has_grown_again() -> None:
    log = Log()
    log.append(100)
    worker = read(log, 60)
    log.cut(50)
    log.append(80)
    assert worker.work(log, 0).losses == (Loss("the log has lost its end", 60, 100),)


def test_what_retention_has_deleted_is_named() -> None:
    log = Log()
    log.append(100)
    worker = read(log, 60)
    log.forget(75)
    place = worker.work(log, 0)
    assert place.offset == 75
    assert [(loss.begin, loss.end) for loss in place.losses] == [(60, 75)]


def test_a_topic_that_was_made_anew_is_read_from_its_beginning() -> None:
    old, new = Log(), Log()
    old.append(100)
    worker = read(old, 50, 50)
    new.append(3)
    new.texts = ["new 1", "new 2", "new 3"]
    assert worker.work(new, 0).offset == 0


def test_without_a_commit_all_of_the_log_is_read() -> None:
    log = Log()
    log.append(10)
    log.forget(4)
    place = Worker().work(log, 0)
    assert (place.offset, place.losses, place.moved) == (4, (), False)


@pytest.mark.parametrize("metadata", [None, "", "x", "marks1", "marks1 x", "marks1 7 8", "marks1 7 x:y", "{}"])
def test_the_metadata_of_others_is_no_note(metadata: Any) -> None:
    assert decode_note(metadata) == Note(-1)


def test_a_commit_of_a_version_without_marks_goes_on_as_committed() -> None:
    log = Log()
    log.append(100)
    assert log.place(60, decode_note("")).offset == 60
    log.cut(50)
    assert log.place(60, decode_note("")).offset == 0


def test_marks_lie_ever_farther_apart() -> None:
    note = Note(0)
    for offset in range(0, 1_000_000, 700):
        note = note.add(Mark(offset, f"{offset:016x}"), offset + 1)
    assert decode_note(note.encode()) == note
    assert len(note.encode()) < 700
    gaps = [newer.offset - older.offset for newer, older in zip(note.marks, note.marks[1:], strict=False)]
    assert gaps[0] <= 1400
    assert max(gaps) < 700_000
