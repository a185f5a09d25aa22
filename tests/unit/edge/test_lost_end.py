"""A partition's log loses its end under several edges; each tells of what it was told is kept, exactly."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.event_log.lost_end import LOST, LostEnd, Mark

_numbers = count()


class NotedEnd(LostEnd):
    """Notes what it tells of."""

    def __init__(self) -> None:
        super().__init__(f"t{next(_numbers)}", 0)
        self.told: list[range] = []

    def _tell(self, begin: int, end: int) -> None:
        super()._tell(begin, end)
        self.told.append(range(begin, end))


class Log:
    """A partition: whose record each offset is, and when it was written."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int]] = []
        self.now_ms = 1_000_000

    def append(self, number: int, edge: LostEnd, after_ms: int, *, stamps: bool = True) -> None:
        self.now_ms += after_ms
        before = edge.sending()
        self.records.append((number, self.now_ms))
        edge.acknowledged(len(self.records) - 1, before, self.now_ms if stamps else None)

    def cut(self, records: int, away_ms: int) -> None:
        del self.records[max(0, len(self.records) - records) :]
        self.now_ms += away_ms

    def look(self, edge: LostEnd) -> None:
        later = {mark: self._first_later(mark) for mark in edge.doubtful()}
        suspects = edge.suspects(later, len(self.records))
        edge.look({mark: begin for mark, begin in suspects.items() if not self._has(mark)}, list(later))

    def _first_later(self, mark: Mark) -> Mark | None:
        found = (Mark(i, at) for i, (_, at) in enumerate(self.records) if at > mark.at_ms)
        return next(found, None)

    def _has(self, mark: Mark) -> bool:
        return mark.offset < len(self.records) and self.records[mark.offset][1] == mark.at_ms


appends = st.tuples(st.just("append"), st.integers(0, 2), st.sampled_from([0, 1, 7, 199, 200, 3000]))
looks = st.tuples(st.just("look"), st.integers(0, 2), st.just(0))


@given(st.lists(appends | looks), st.integers(1, 12), st.lists(appends | looks), st.integers(200, 60_000))
def test_each_edge_tells_of_what_it_has_lost(
    before: list[tuple[str, int, int]], removed: int, after: list[tuple[str, int, int]], away_ms: int
) -> None:
    log, edges = Log(), [NotedEnd() for _ in range(3)]
    _do(log, edges, before)
    assert [edge.told for edge in edges] == [[], [], []]
    former = log.records[:]
    log.cut(removed, away_ms)
    begin = len(log.records)
    _do(log, edges, after)
    for _ in range(3):
        for edge in edges:
            log.look(edge)
    for number, edge in enumerate(edges):
        own = [i for i, (owner, _) in enumerate(former) if owner == number and i >= begin]
        told = [i for part in edge.told for i in part]
        assert told == list(range(begin, own[-1] + 1 if own else begin))
    for edge in edges:
        told_before = edge.told[:]
        log.append(0, edge, 3000)
        log.look(edge)
        log.look(edge)
        assert edge.told == told_before


def _do(log: Log, edges: list[NotedEnd], steps: list[tuple[str, int, int]]) -> None:
    for what, number, ms in steps:
        if what == "append":
            log.append(number, edges[number], ms)
        else:
            log.look(edges[number])


def test_an_end_that_a_new_leader_does_not_know_yet_is_looked_at_again() -> None:
    log, edge = Log(), NotedEnd()
    for _ in range(3):
        log.append(0, edge, 10)
    assert edge.doubtful() == []
    for end in (1, 3, 1, 1):
        assert edge.told == []
        (mark,) = edge.doubtful()
        edge.look(edge.suspects({mark: None}, end), [mark])
    assert edge.told == [range(1, 3)]


def test_a_clock_that_was_set_back_is_no_loss() -> None:
    log, edge = Log(), NotedEnd()
    log.append(1, NotedEnd(), 1000)
    log.append(0, edge, -500)
    for _ in range(4):
        log.look(edge)
    log.append(0, edge, 1000)
    log.append(0, edge, -3000)
    for _ in range(4):
        log.look(edge)
    assert edge.told == []


@pytest.mark.parametrize("stamps", [True, False])
def test_a_lower_offset_is_a_loss_whatever_the_clock_says(stamps: bool) -> None:
    log, edge = Log(), NotedEnd()
    for _ in range(5):
        log.append(0, edge, 10, stamps=stamps)
    log.cut(3, -3_600_000)
    log.append(1, NotedEnd(), 10, stamps=stamps)
    log.append(0, edge, 10, stamps=stamps)
    log.look(edge)
    assert edge.told == [range(3, 5)]
    log.append(0, edge, 10, stamps=stamps)
    log.look(edge)
    log.look(edge)
    assert edge.told == [range(3, 5)]


def test_where_kafka_does_not_say_what_there_was_when_offsets_tell() -> None:
    log, edge = Log(), NotedEnd()
    for _ in range(5):
        log.append(0, edge, 10)
    log.cut(2, 500)
    log.append(0, edge, 10)
    assert edge.doubtful()
    edge.cannot_look()
    edge.cannot_look()
    assert edge.told == [range(3, 5)]


def test_records_under_way_together_may_be_acknowledged_in_any_order() -> None:
    end = LostEnd("t", 0)
    lost = LOST.labels("t", "0")
    first, second = end.sending(), end.sending()
    end.acknowledged(8, second, None)
    end.acknowledged(7, first, None)
    assert lost.value == 0
    first, second = end.sending(), end.sending()
    end.acknowledged(3, first, None)
    end.acknowledged(4, second, None)
    assert lost.value == 6
    end.acknowledged(5, end.sending(), None)
    assert lost.value == 6
    first, second = end.sending(), end.sending()
    end.acknowledged(7, second, 100)
    end.acknowledged(6, first, 100)
    assert end.doubtful() == []
    assert end.doubtful() == [Mark(7, 100)]
