"""Notices when a partition's log has lost records that this edge was told are kept. Pure but for metric and log.

A log that was cut grows again, under the records of all edges. So this edge need not be the one that is given an old offset
again. Time tells, by the broker's clock, which stamps each record: the first record that is later than one of ours lies
behind ours, unless ours is gone. Then it lies where the log was cut. (Or a clock was set back: loss_watch.py reads the record.)
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.edge.loop_metrics import LoopCounter
from services.runtime.logs import get_logger

log = get_logger(__name__)
LOST = LoopCounter(
    "headrace_edge_lost_records",
    "Kafka records that were acknowledged and are gone. The log names their offsets.",
    ["topic", "partition"],
)
# A broker needs longer to come back, or another to take its place. So of records that follow closer the last tells as much
# as all.
_PAUSE_MS = 200
# Only pauses leave marks. Kafka would have to come and go as often between two looks.
_MAX_MARKS = 100


class Mark(NamedTuple):
    """An acknowledged record; `at_ms` by the broker's clock."""

    offset: int
    at_ms: int


class LostEnd:
    """Of one partition.

    Where the broker does not stamp records, or its clock went back, what is left is the offset: it only ever grows. Records
    that are under way together may be acknowledged in any order, so an offset is compared with those that had been
    acknowledged when its record was sent.
    """

    __slots__ = ("_given_again", "_last", "_looked_at", "_losses", "_marks", "_partition", "_suspected", "_topic")

    def __init__(self, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._last = -1
        self._losses = 0
        # The newest record of ours, and before it those that a pause followed since the last look.
        self._marks: list[Mark] = []
        self._looked_at: Mark | None = None
        self._suspected: set[Mark] = set()
        self._given_again: dict[Mark, int] = {}
        LOST.labels(topic, str(partition))  # at 0: a first loss is an increase

    def sending(self) -> tuple[int, int]:
        """What to hand to `acknowledged`: how many losses were seen, and the last offset."""
        return self._losses, self._last

    def acknowledged(self, offset: int, before: tuple[int, int], at_ms: int | None) -> None:
        """The offset of a record that Kafka has taken, below 0 where it does not say; and the time that it has stamped it
        with, None where it stamps none."""
        losses, last = before
        is_given_again = losses == self._losses and 0 <= offset <= last
        if is_given_again:
            if at_ms is None or not self._marks:
                self._tell(offset, self._last + 1)
            else:
                self._given_again[self._marks[-1]] = offset
            self._losses += 1
            self._last = offset
        self._last = max(self._last, offset)
        if at_ms is not None and offset >= 0:
            self._mark(Mark(offset, at_ms), is_behind=not is_given_again)

    def _mark(self, mark: Mark, *, is_behind: bool) -> None:
        if is_behind and self._marks and mark.at_ms - self._marks[-1].at_ms < _PAUSE_MS:
            self._marks[-1] = max(mark, self._marks[-1])
        else:
            self._marks = [*self._marks[1 - _MAX_MARKS :], mark]

    def doubtful(self) -> list[Mark]:
        """Of which marks to ask whether they are still there: none while records follow one another without a pause."""
        newest = self._marks[-1] if self._marks else None
        is_quiet, self._looked_at = newest == self._looked_at, newest
        return self._marks[:] if is_quiet or len(self._marks) > 1 else []

    def suspects(self, first_later: Mapping[Mark, Mark | None], end: int) -> dict[Mark, int]:
        """What looks lost, with the offset at which the log was cut then. `first_later`: of doubtful marks the first
        record in the log that is later; None: there is none. `end`: of the log."""
        found: dict[Mark, int] = {}
        for mark, later in first_later.items():
            begins = [self._given_again[mark]] if mark in self._given_again else []
            if later is None and end <= mark.offset:
                begins.append(end)
            elif later is not None and later.offset <= mark.offset:
                begins.append(later.offset)
            if begins:
                found[mark] = min(begins)
        return found

    def look(self, missing: Mapping[Mark, int], looked_at: Sequence[Mark]) -> None:
        """`missing`: suspects that are not in the log, of all that were looked at. They are looked at once more: a leader
        that was just elected may not know all of its log yet."""
        lost = {mark: begin for mark, begin in missing.items() if self._given_again or mark in self._suspected}
        self._suspected = missing.keys() - lost.keys()
        for begin in set(lost.values()):
            self._tell(begin, max(mark.offset + 1 for mark, cut_at in lost.items() if cut_at == begin))
        for mark in looked_at:
            if mark not in self._suspected:
                self._settle(mark, is_lost=mark in lost)

    def cannot_look(self) -> None:
        """Kafka does not say what there is at which time: what was given again is told of by its offsets."""
        for mark, begin in list(self._given_again.items()):
            self._tell(begin, mark.offset + 1)
            self._settle(mark, is_lost=True)

    def _settle(self, mark: Mark, *, is_lost: bool) -> None:
        self._given_again.pop(mark, None)
        is_newest = bool(self._marks) and mark == self._marks[-1]
        if is_newest and is_lost:
            # The next record may get any offset.
            self._last = -1
            self._losses += 1
        if mark in self._marks and (is_lost or not is_newest):
            self._marks.remove(mark)

    def _tell(self, begin: int, end: int) -> None:
        LOST.labels(self._topic, str(self._partition)).inc(end - begin)
        log.critical(
            "records_lost",
            topic=self._topic,
            partition=self._partition,
            begin=begin,
            end=end,
            reason="the log has lost its end; workers may have stored some of these before",
        )
