"""What an edge takes for a loss, and what not."""

import pytest

from services.edge.event_log.lost_end import LOST, LostEnd, Mark
from tests.support.lost_end import Log, NotedEnd


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
