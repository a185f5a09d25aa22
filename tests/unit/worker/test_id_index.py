"""The index of ids: cases that a search in sorted columns gets wrong easily. See also tests/slow/worker/test_id_index_property.py."""

import numpy as np
import pytest

from services.contract.log.topics import Partitioning
from services.worker.dedupe import id_index as dedupe
from services.worker.dedupe.id_index import SLICES_PER_WINDOW, IdIndex
from services.worker.dedupe.ids import Ids, ids_from_bytes


def ids_of(*pairs: tuple[int, int]) -> Ids:
    return Ids(np.array([p[0] for p in pairs], np.uint64), np.array([p[1] for p in pairs], np.uint64))


TOP = 2**64 - 1


def test_packed_ids_are_read_big_endian() -> None:
    first, second = bytes(range(16)), b"\xff" * 15 + b"\xfe"
    ids = ids_from_bytes(first + second)
    assert ids.high.tolist() == [0x0001020304050607, TOP]
    assert ids.low.tolist() == [0x08090A0B0C0D0E0F, TOP - 1]
    assert len(ids_from_bytes(b"")) == 0


def test_of_equal_ids_in_one_question_the_first_is_new() -> None:
    index = IdIndex(3600)
    asked = ids_of((5, 1), (1, 1), (5, 1), (5, 2), (1, 1), (5, 1))
    assert index.duplicates(asked).tolist() == [False, False, True, False, True, True]
    assert len(index) == 0


def test_asking_does_not_add() -> None:
    index = IdIndex(3600)
    for _ in range(2):
        assert index.duplicates(ids_of((1, 1))).tolist() == [False]


@pytest.mark.parametrize("high", [0, 7, TOP])
def test_ids_that_share_their_high_half_are_different_ids(high: int) -> None:
    index = IdIndex(3600)
    index.add(ids_of(*[(high, low) for low in (0, 2, 4, 6, TOP)]), 0.0)
    asked = ids_of(*[(high, low) for low in (TOP, 0, 1, 2, 3, 4, 5, 6, 7)])
    assert index.duplicates(asked).tolist() == [True, True, False, True, False, True, False, True, False]


def test_ids_beyond_both_ends_are_not_found() -> None:
    index = IdIndex(3600)
    index.add(ids_of((10, 10), (20, 20)), 0.0)
    asked = ids_of((0, 0), (10, 9), (10, 11), (15, 0), (20, 19), (20, 21), (TOP, TOP), (10, 10), (20, 20))
    assert index.duplicates(asked).tolist() == [False] * 7 + [True, True]


def test_nothing_is_asked_and_nothing_added() -> None:
    index = IdIndex(3600)
    index.add(ids_of(), 0.0)
    assert index.duplicates(ids_of()).tolist() == []
    index.add(ids_of((1, 1)), 0.0)
    assert index.duplicates(ids_of()).tolist() == []
    assert (len(index), index.size_bytes) == (1, 16)


def test_an_id_costs_16_bytes_and_runs_stay_few() -> None:
    index = IdIndex(3600)
    rng = np.random.default_rng(1)
    for _ in range(200):
        index.add(Ids(*rng.integers(0, TOP, (2, 50), dtype=np.uint64)), 0.0)
    assert len(index) == 10_000
    assert index.size_bytes == 160_000
    assert len(list(index._runs())) <= 8


def test_large_runs_become_one_over_many_additions_and_are_known_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedupe, "_IDS_AT_ONCE", 1000)
    index = IdIndex(3600)
    rng = np.random.default_rng(2)
    large, small = (Ids(*rng.integers(0, TOP, (2, size), dtype=np.uint64)) for size in (6000, 3000))
    index.add(large, 0.0)
    index.add(small, 0.0)
    lengths = []
    for n in range(12):
        assert index.duplicates(large).all()
        assert index.duplicates(small).all()
        lengths.append([len(run.ids) for run in index._runs()])
        index.add(ids_of((n, n)), 0.0)
    # Nearly a thousand of the nine thousand with each addition, whatever is added behind them.
    assert [runs[:2] == [6000, 3000] for runs in lengths] == [True] * 10 + [False] * 2
    assert lengths[-1][0] == 9000
    assert len(index) == 9012


def test_an_id_stays_for_the_window_and_goes_with_its_slice() -> None:
    window_s = 800
    index = IdIndex(window_s)
    assert index.slice_s == window_s // SLICES_PER_WINDOW
    index.add(ids_of((1, 1)), 1_000.0)
    index.add(ids_of((2, 2)), 1_099.9)
    index.add(ids_of((3, 3)), 1_100.0)
    both = ids_of((1, 1), (2, 2), (3, 3))
    index.expire(1_899.9)
    assert index.duplicates(both).tolist() == [True, True, True]
    index.expire(1_900.0)
    assert index.duplicates(both).tolist() == [False, False, True]
    index.expire(10_000.0)
    assert (len(index), index.size_bytes) == (0, 0)


def test_the_shortest_window_still_has_a_slice() -> None:
    index = IdIndex(1)
    index.add(ids_of((1, 1)), 5.0)
    index.expire(6.0)
    assert index.duplicates(ids_of((1, 1))).tolist() == [True]
    index.expire(7.0)
    assert index.duplicates(ids_of((1, 1))).tolist() == [False]


def test_a_partitions_ids_are_those_that_the_log_puts_there() -> None:
    partitions = 8
    packed = [bytes([i // 16, i % 16 * 17, *range(14)]) for i in range(256)]
    index = IdIndex(3600)
    for at, part in enumerate(range(0, 256, 16)):
        index.add(ids_from_bytes(b"".join(packed[part : part + 16])), at * 450.0)
    index.drop_partitions({1, 6}, Partitioning(partitions))
    left = [Partitioning(partitions).partition_of(event_id) not in (1, 6) for event_id in packed]
    assert index.duplicates(ids_from_bytes(b"".join(packed))).tolist() == left
    assert len(index) == sum(left)
    index.drop_partitions(set(range(partitions)), Partitioning(partitions))
    assert len(index) == 0
    index.add(ids_from_bytes(packed[0]), 0.0)
    assert index.duplicates(ids_from_bytes(packed[0])).tolist() == [True]
