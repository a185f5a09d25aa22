"""The index of ids gives the answers of a dictionary, whatever is added, asked, expired and dropped."""

from typing import Any
from unittest import mock

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.contract.log.topics import Partitioning
from services.worker.dedupe import id_index as dedupe
from services.worker.dedupe.id_index import IdIndex
from services.worker.dedupe.ids import Ids
from tests.support.examples import examples

PARTITIONS = 5

# Few different halves, so that ids meet and halves collide; the top bits decide the partition.
HALVES = st.one_of(
    st.integers(0, 3),
    st.integers(0, 7).map(lambda top: top << 48),
    st.sampled_from([2**63, 2**64 - 1]),
)
SOME_IDS = st.lists(st.tuples(HALVES, st.integers(0, 5)), max_size=40)


def columns(pairs: list[tuple[int, int]]) -> Ids:
    return Ids(np.array([p[0] for p in pairs], np.uint64), np.array([p[1] for p in pairs], np.uint64))


class IndexAndDictionary(RuleBasedStateMachine):
    """The dictionary: id -> the slice of time that it came in."""

    @initialize(window_s=st.sampled_from([1, 7, 80, 604_800]), at_once=st.sampled_from([1, 3, 10, 1_000_000]))
    def start(self, window_s: int, at_once: int) -> None:
        """`at_once`: few, and most runs become one over many additions."""
        self.at_once = mock.patch.object(dedupe, "_IDS_AT_ONCE", at_once)
        self.at_once.start()
        self.index = IdIndex(window_s)
        self.known: dict[tuple[int, int], int] = {}
        self.now_s = 1_000_000.0

    def expected(self, asked: list[tuple[int, int]]) -> list[bool]:
        seen = set(self.known)
        answers = []
        for pair in asked:
            answers.append(pair in seen)
            seen.add(pair)
        return answers

    @rule(asked=SOME_IDS)
    def ask(self, asked: list[tuple[int, int]]) -> None:
        assert self.index.duplicates(columns(asked)).tolist() == self.expected(asked)

    @rule(asked=SOME_IDS, back=st.floats(0, 1))
    def store(self, asked: list[tuple[int, int]], back: float) -> None:
        """As the worker does: ask, then add what is new, at any time of the window."""
        ids = columns(asked)
        duplicates = self.index.duplicates(ids)
        assert duplicates.tolist() == self.expected(asked)
        at_s = self.now_s - back * self.index.window_s
        self.index.add(ids.where(~duplicates), at_s)
        for pair in asked:
            self.known.setdefault(pair, int(at_s // self.index.slice_s))

    @rule(windows=st.floats(0, 1.5))
    def expire(self, windows: float) -> None:
        self.now_s += windows * self.index.window_s
        self.index.expire(self.now_s)
        start_s = self.now_s - self.index.window_s
        self.known = {pair: at for pair, at in self.known.items() if (at + 1) * self.index.slice_s > start_s}

    @rule(gone=st.sets(st.integers(0, PARTITIONS - 1)))
    def drop_partitions(self, gone: set[int]) -> None:
        self.index.drop_partitions(gone, Partitioning(PARTITIONS))
        self.known = {pair: at for pair, at in self.known.items() if (pair[0] >> 48) % 1024 % PARTITIONS not in gone}

    def teardown(self) -> None:
        if hasattr(self, "at_once"):
            self.at_once.stop()

    @invariant()
    def has_as_many(self) -> None:
        if hasattr(self, "known"):
            assert len(self.index) == len(self.known)
            assert self.index.size_bytes == 16 * len(self.known)


IndexAndDictionary.TestCase.settings = examples(60, stateful_step_count=25)
TestIndexAndDictionary: Any = IndexAndDictionary.TestCase
