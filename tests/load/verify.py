"""What is stored beside what was accepted: by number, event for event."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from services.query.sql.events import EVENTS_ONCE
from tests.load.keys import numbers
from tests.load.plan import Gone, Sent
from tests.load.stack import PROJECT, Stack


class Verdict(Struct, kw_only=True):
    """Events. `unanswered`: of requests that got no 2xx, which may be stored or not; `foreign`: never sent;
    `twice_for_a_while`: rows that a merge removes and no query shows; `undeleted`: of people who were deleted."""

    accepted: int
    stored: int
    lost: int
    doubled: int
    foreign: int
    unanswered: int
    twice_for_a_while: int
    undeleted: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.foreign or self.undeleted)


def count_rows(stack: Stack) -> int:
    """Rows of the project, those that lie there twice included: cheap."""
    return int(stack.sql(f"SELECT count() FROM events WHERE project_id = '{PROJECT}'"))


def verify(stack: Stack, sent: Sent, given: int, gone: Sequence[Gone], run: int) -> Verdict:
    """Reads every key that a query could show."""
    found, foreign = numbers(
        stack.sql(
            f"SELECT toFixedString(unhex(idempotency_key), 16) FROM {EVENTS_ONCE} "
            f"WHERE project_id = '{PROJECT}' AND length(idempotency_key) = 32 FORMAT RowBinary"
        ),
        run,
    )
    others = int(
        stack.sql(f"SELECT count() FROM events WHERE project_id = '{PROJECT}' AND length(idempotency_key) != 32")
    )
    verdict = compare(sent, given, gone, found)
    verdict.foreign += foreign + others
    verdict.twice_for_a_while = count_rows(stack) - len(found) - others
    return verdict


def compare(sent: Sent, given: int, gone: Sequence[Gone], found: NDArray[np.uint64]) -> Verdict:
    """`given`: how many numbers there are; `found`: one a stored row."""
    known = found < given
    rows = np.bincount(found[known].astype(np.int64), minlength=given)
    accepted, unanswered = np.zeros(given, np.bool_), np.zeros(given, np.bool_)
    for first, events, answered in zip(sent.first, sent.events, sent.answered, strict=True):
        of = unanswered if np.isnan(answered) else accepted
        of[int(first) : int(first) + int(events)] = True
    undeleted = sum(int((rows[slice(*person.numbers)] > 0).sum()) for person in gone)
    return Verdict(
        accepted=int(accepted.sum()),
        stored=int((accepted & (rows > 0)).sum()),
        lost=int((accepted & (rows == 0)).sum()),
        doubled=int(np.maximum(rows - 1, 0).sum()),
        foreign=int((~known).sum()),
        unanswered=int(unanswered.sum()),
        twice_for_a_while=0,
        undeleted=undeleted,
    )
