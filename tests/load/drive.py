"""What a run has to send and has sent so far: bodies, due times, the record of every request. Knows no HTTP."""

import random
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tests.load.bodies import Bodies, Template
from tests.load.pace import Numbers, Pace
from tests.load.plan import KINDS, SHARES, Asked, Gone, Plan, Sent, Told, write

_TOLD_UNEXPECTED = 10


class Drive:
    """One a run, shared by all users: nothing here waits, so that greenlets do not get in each other's way."""

    def __init__(self, plan: Plan, starts_at: float) -> None:
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.bodies = Bodies(plan.key, plan.seed)
        self.starts_at = starts_at
        self.numbers = Numbers()
        self._paces = {kind: self._pace(share * plan.rate) for kind, share in SHARES.items()}
        self.calls = {
            "queries": self._pace(plan.queries_s),
            "dashboards": self._pace(plan.dashboards_s),
            "identities": self._pace(plan.identities_s),
            "deletions": self._pace(plan.deletions_s),
        }
        self.accepted = 0
        self.repeats = 0
        self.identities = 0
        self.statuses: Counter[int] = Counter()
        self.unexpected: list[str] = []
        self.asked: list[Asked] = []
        self.gone: list[Gone] = []
        self._columns: dict[str, array[Any]] = {
            name: array(code) for name, code in zip(Sent.__struct_fields__, "BQIddI", strict=True)
        }

    def next(self, kind: str) -> tuple[Template, int, float] | None:
        """A body, the number of its first event, and when it is due; None when the time is over."""
        template = self.bodies.any(kind)
        due = self._paces[kind].take(template.events)
        if due is None:
            return None
        return template, self.numbers.take(template.events), due

    def record(self, kind: str, template: Template, first: int, due: float, tries: int, accepted: bool) -> None:
        """A request has come to its end: with a 2xx, or given up."""
        answered = time.monotonic() if accepted else float("nan")
        row = (KINDS.index(kind), first, template.events, due, answered, tries)
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        self.accepted += template.events if accepted else 0

    def refuse(self, status: int, text: str, usual: bool) -> None:
        """An answer that is no 2xx; `usual`: one that a service may give at any time."""
        self.statuses[status] += 1
        if not usual and len(self.unexpected) < _TOLD_UNEXPECTED:
            self.unexpected.append(f"{status}: {text[:200]}")

    def write(self, folder: Path) -> None:
        sent = Sent(**{name: np.array(column) for name, column in self._columns.items()})
        told = Told(
            numbers=self.numbers.given,
            started_at=self.starts_at,
            repeats=self.repeats,
            statuses=dict(self.statuses),
            unexpected=self.unexpected,
            asked=self.asked,
            identities=self.identities,
            gone=self.gone,
        )
        write(folder, sent, told)

    def _pace(self, rate: float) -> Pace:
        return Pace(rate, self.starts_at, self.plan.seconds)
