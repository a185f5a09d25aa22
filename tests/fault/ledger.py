"""What was sent and what was accepted, exactly, and the comparison with what is stored. Pure numpy: no I/O.

An event is a number, and the number is its idempotency key. Each time it is sent it carries a variant: which of its
contents may win is known beforehand, because contents that must not win are sent only after the first 2xx.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint32]

ORIGINAL = 0
TWIN = 1  # sent to another edge at the same moment: either may win
IN_BATCH = 2  # behind the original in the same batch: must not win
LATER = 3  # sent after the original's 2xx: must not win

MAY_WIN = 1 << ORIGINAL
TWIN_MAY_WIN = MAY_WIN | 1 << TWIN
ANY_MAY_WIN = 0xFF


@dataclass(frozen=True)
class Outcome:
    """One line of the final table. `wrong`: stored once, but with a content that was not the first accepted."""

    fault: str
    sent: int
    accepted: int
    stored: int
    lost: int
    doubled: int
    wrong: int

    @property
    def good(self) -> bool:
        return self.lost == self.doubled == self.wrong == 0


class Ledger:
    """Numbers are given out by `new`, under the fault that is in force at that moment."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._fault = 0
        self._length = 0
        self._accepted = np.zeros(1 << 16, np.bool_)
        self._may_win = np.zeros(1 << 16, np.uint8)
        self._of_fault = np.zeros(1 << 16, np.uint16)
        self._accepted_at = np.zeros(1 << 16, np.float64)
        self._excused = np.zeros(1 << 16, np.bool_)
        self.enter("no fault")

    def __len__(self) -> int:
        return self._length

    @property
    def accepted(self) -> int:
        """Distinct keys that got a 2xx, and that nothing excuses from being stored."""
        return int((self._accepted & ~self._excused)[: self._length].sum())

    def enter(self, fault: str) -> None:
        """From now on, new events belong to this fault."""
        if fault not in self.faults:
            self.faults.append(fault)
        self._fault = self.faults.index(fault)

    def new(self, count: int) -> range:
        start = self._length
        self._length += count
        if self._length > len(self._accepted):
            more = len(self._accepted)
            self._accepted = np.concatenate([self._accepted, np.zeros(more, np.bool_)])
            self._may_win = np.concatenate([self._may_win, np.zeros(more, np.uint8)])
            self._of_fault = np.concatenate([self._of_fault, np.zeros(more, np.uint16)])
            self._accepted_at = np.concatenate([self._accepted_at, np.zeros(more, np.float64)])
            self._excused = np.concatenate([self._excused, np.zeros(more, np.bool_)])
        self._may_win[start : self._length] = MAY_WIN
        self._of_fault[start : self._length] = self._fault
        return range(start, self._length)

    def let_twins_win(self, numbers: list[int]) -> None:
        self._may_win[numbers] = TWIN_MAY_WIN

    def accept(self, numbers: range | list[int]) -> None:
        """These keys got a 2xx, now."""
        self._accepted[numbers] = True
        self._accepted_at[numbers] = time.time()

    def excuse(self, numbers: list[int]) -> None:
        """Kafka has lost these, and an alarm has named them: they may be missing. One that is sent again is new."""
        self._excused[numbers] = True
        self._may_win[numbers] = ANY_MAY_WIN

    def not_excused(self, numbers: set[int]) -> set[int]:
        return {n for n in numbers if not self._excused[n]}

    @property
    def has_excused(self) -> bool:
        return bool(self._excused.any())

    def count_accepted_before(self, numbers: list[int], at: float) -> int:
        """How many of these accepted numbers were so before this Unix time."""
        return int((self._accepted_at[numbers] < at).sum())

    def some_accepted(self, rng: np.random.Generator, count: int, among_last: int) -> list[int]:
        """Numbers that were accepted, out of the last so many; fewer where there are not enough."""
        if not self._length:
            return []
        numbers = rng.integers(max(0, self._length - among_last), self._length, count)
        return [int(n) for n in numbers if self._accepted[n]]

    def compare(self, numbers: Numbers, variants: NDArray[np.uint8]) -> tuple[list[Outcome], int]:
        """One outcome a fault, and how many stored rows were never sent. One element a stored row."""
        foreign = int((numbers >= self._length).sum())
        known = numbers < self._length
        numbers, variants = numbers[known], variants[known]
        rows = np.bincount(numbers, minlength=self._length)
        illegal = (self._may_win[numbers] >> variants) & 1 == 0
        wrong = np.zeros(self._length, np.bool_)
        wrong[numbers[illegal]] = True
        # What may be missing, and is, is as if it had not been accepted.
        accepted = self._accepted[: self._length] & ~(self._excused[: self._length] & (rows == 0))
        of_fault = self._of_fault[: self._length]
        outcomes = []
        for i, fault in enumerate(self.faults):
            mine = of_fault == i
            outcomes.append(
                Outcome(
                    fault=fault,
                    sent=int(mine.sum()),
                    accepted=int((mine & accepted).sum()),
                    stored=int((mine & (rows > 0)).sum()),
                    lost=int((mine & accepted & (rows == 0)).sum()),
                    doubled=int((mine & (rows > 1)).sum()),
                    wrong=int((mine & wrong & (rows == 1)).sum()),
                )
            )
        return outcomes, foreign

    def missing(self, numbers: Numbers, limit: int = 10) -> list[int]:
        """The first accepted numbers that are not stored: for the report of a failure."""
        stored = np.zeros(self._length, np.bool_)
        stored[numbers[numbers < self._length]] = True
        missing = self._accepted[: self._length] & ~self._excused[: self._length] & ~stored
        return [int(n) for n in np.flatnonzero(missing)[:limit]]
