"""Where the reading of a partition goes on, and what Kafka has lost of it. Pure: values in, values out.

A commit says more than an offset: the log's end as it was then, and marks, each the offset and the digest of a record
that was stored. A log can lose its end (power, an unclean election, a restored backup) and grow again past the
committed offset; then the records below it are others. A record that is still there proves that everything before it
is, because a log is only ever cut at its end. So reading goes on behind the newest mark that still holds:

| in the log                        | reading goes on at        | lost                                      |
|-----------------------------------|---------------------------|-------------------------------------------|
| the newest mark holds             | the committed offset      | between the log's end and its former end  |
| only an older mark holds          | the offset behind it      | from the committed offset, as above       |
| none holds                        | the log's first offset    | as above                                  |
| the committed offset was deleted  | the log's first offset    | from the committed to the first offset    |
"""

from collections.abc import Iterator

from aiokafka import ConsumerRecord
from msgspec import Struct
from xxhash import xxh3_64_hexdigest

from services.contract.log.envelope import IDS_HEADER
from services.runtime.log_reader import Bounds

# First word of a commit's metadata. Others (and none) are of a version that left no marks.
_VERSION = "marks1"
# Of Kafka's usual limit for a commit's metadata, 4096 bytes, a quarter.
_MAX_MARKS = 24


class Mark(Struct, frozen=True):
    """A record that was stored."""

    offset: int
    digest: str


class Note(Struct, frozen=True):
    """What a commit says beside its offset. `marks`: the newest first, ever farther apart."""

    end: int
    marks: tuple[Mark, ...] = ()

    def encode(self) -> str:
        return " ".join([_VERSION, str(self.end), *[f"{mark.offset}:{mark.digest}" for mark in self.marks]])

    def add(self, mark: Mark, end: int) -> "Note":
        """With a newer mark. Of the older ones, about one is kept for each doubling of the distance."""
        kept: dict[int, Mark] = {}
        for old in reversed(self.marks):
            if old.offset < mark.offset:
                kept.setdefault((mark.offset - old.offset).bit_length(), old)
        return Note(end, (mark, *sorted(kept.values(), key=_newest_first))[:_MAX_MARKS])

    def back_to(self, offset: int, end: int) -> "Note":
        """What still holds when reading goes on at an earlier offset."""
        return Note(end, tuple(mark for mark in self.marks if mark.offset < offset))


def _newest_first(mark: Mark) -> int:
    return -mark.offset


def decode_note(metadata: str | None) -> Note:
    """Of anything that is no note, one without marks."""
    version, *words = (metadata or "").split(" ")
    if version != _VERSION:
        return Note(-1)
    try:
        end, *marks = words
        pairs = [mark.split(":") for mark in marks]
        return Note(int(end), tuple(Mark(int(offset), digest) for offset, digest in pairs))
    except ValueError:
        return Note(-1)


def digest_of(record: ConsumerRecord) -> str:
    """Of the ids where it has them, which no two records share but by being sent again, else of the whole value."""
    ids = next((value for name, value in record.headers if name == IDS_HEADER), None)
    return xxh3_64_hexdigest(b"%d " % record.timestamp + (ids or record.value or b""))


_OVERTAKEN = "retention deleted records before a worker read them"
_CUT = "the log has lost its end"
LOSSES = (_OVERTAKEN, _CUT)


class Loss(Struct, frozen=True):
    """Records that Kafka had and that no worker has read: offsets from `begin`, below `end`."""

    reason: str
    begin: int
    end: int


class Place(Struct, frozen=True):
    """Where reading goes on, and with which note. `moved`: elsewhere than was committed."""

    offset: int
    note: Note
    losses: tuple[Loss, ...] = ()
    moved: bool = False


def marks_to_try(note: Note, bounds: Bounds) -> Iterator[Mark]:
    """Those whose records may still be there, the newest first."""
    return (mark for mark in note.marks if bounds.start <= mark.offset < bounds.end)


def find_place(committed: int | None, note: Note, bounds: Bounds, holds: Mark | None) -> Place:
    """Where to go on. `holds`: the newest mark whose record is still the same, out of `marks_to_try`."""
    if committed is None:
        return Place(bounds.start, Note(bounds.end))
    if committed < bounds.start:
        overtaken = Loss(_OVERTAKEN, committed, bounds.start)
        return Place(bounds.start, Note(bounds.end), (overtaken,), moved=True)
    if committed <= bounds.end and _nothing_speaks_against(note, bounds, holds):
        lost = _lost(max(committed, bounds.end), note.end)
        return Place(committed, Note(max(bounds.end, committed), note.marks), lost, moved=bool(lost))
    offset = bounds.start if holds is None else holds.offset + 1
    return Place(offset, note.back_to(offset, bounds.end), _lost(committed, note.end), moved=True)


def _nothing_speaks_against(note: Note, bounds: Bounds, holds: Mark | None) -> bool:
    """The newest mark holds, or there is none, or its record has been deleted with the beginning of the log."""
    return not note.marks or holds == note.marks[0] or note.marks[0].offset < bounds.start


def _lost(begin: int, end: int) -> tuple[Loss, ...]:
    return (Loss(_CUT, begin, end),) if begin < end else ()


class Reading:
    """What was read of one partition since it was assigned: from it come the notes of commits."""

    def __init__(self, note: Note) -> None:
        self.note = note
        self.last: Mark | None = note.marks[0] if note.marks else None
        self._read: list[Mark] = []

    def read(self, record: ConsumerRecord) -> None:
        """The last record of a chunk: where commits may end."""
        self.last = Mark(record.offset, digest_of(record))
        self._read.append(self.last)

    def note_at(self, offset: int, end: int) -> Note:
        """Of a commit that says that everything below `offset` is stored."""
        behind = [mark for mark in self._read if mark.offset < offset]
        self._read = self._read[len(behind) :]
        if behind:
            self.note = self.note.add(behind[-1], max(end, offset))
        return self.note
