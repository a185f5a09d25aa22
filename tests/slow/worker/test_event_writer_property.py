"""Stored = distinct, whatever is repeated, refused, cut off or restarted in between."""

import asyncio
import re
from collections.abc import Iterator, Sequence

import pytest
from aiokafka.errors import KafkaTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from structlog.testing import capture_logs

from services.contract.log.dead_letter import DeadLetter
from services.contract.log.envelope import pack
from services.contract.log.topics import Partitioning
from services.worker.dead_letters import PoisonGate
from services.worker.dedupe.memory import MemoryDedupe
from services.worker.dedupe.port import Membership
from services.worker.events.writer import EventWriter
from services.worker.record import Record
from tests.fakes.events_table import PARTITIONS, REFUSED_EVENT, Log, MemoryEventsTable, event_id, line_of
from tests.support.examples import examples


class Line(Struct, frozen=True):
    """`number` names the id. Bad lines have ids of their own."""

    number: int
    kind: str = "good"

    @property
    def id(self) -> bytes:
        return event_id(self.number + {"good": 0, "broken": 1000, "refused": 2000}[self.kind], self.number % PARTITIONS)

    @property
    def text(self) -> bytes:
        if self.kind == "broken":
            return b"{broken\n"
        return pack([self.id], [line_of(self.id, REFUSED_EVENT if self.kind == "refused" else "a")]).lines


class Step(Struct, frozen=True):
    """A block, and what goes wrong around it. Records may lack their ids, as a foreign producer's do."""

    records: list[list[Line]]
    foreign: bool
    unavailable: int
    ambiguous: int
    unreadable: int
    letters_refused: int
    restart: bool
    replay: bool
    moved: set[int]


LINES = st.builds(Line, st.integers(0, 3), st.sampled_from(["good", "good", "good", "good", "broken", "refused"]))
# All ids of a record are of its partition: whoever writes to the topic has to see to that.
RECORDS = st.integers(0, PARTITIONS - 1).flatmap(
    lambda partition: st.lists(
        LINES.map(lambda line: Line(line.number * PARTITIONS + partition, line.kind)), min_size=1, max_size=6
    )
)
STEPS = st.builds(
    Step,
    records=st.lists(RECORDS, min_size=1, max_size=5),
    foreign=st.booleans(),
    unavailable=st.integers(0, 2),
    ambiguous=st.integers(0, 2),
    unreadable=st.integers(0, 1),
    letters_refused=st.integers(0, 1),
    restart=st.booleans(),
    replay=st.booleans(),
    moved=st.sets(st.integers(0, PARTITIONS - 1)),
)


class Pipeline:
    """A log, a table, and the worker of the moment."""

    def __init__(self) -> None:
        self.table = MemoryEventsTable()
        self.log = Log()
        self.letters: list[DeadLetter] = []
        self.letters_refused = 0
        self.generation = 0
        self.restart()

    def restart(self) -> None:
        self.dedupe = MemoryDedupe(self.table, 86_400, Partitioning(PARTITIONS))
        self.sink = EventWriter(self.table, self.dedupe, self._put, PoisonGate(1.0), Partitioning(PARTITIONS))

    async def _put(self, letters: Sequence[DeadLetter]) -> None:
        if self.letters_refused:
            self.letters_refused -= 1
            raise KafkaTimeoutError
        self.letters += letters

    async def take(self, step: Step) -> None:
        """Store the step's block; when the worker dies of it, another one begins with the same block."""
        block = [self._record(lines, step.foreign and i == 0) for i, lines in enumerate(step.records)]
        self.table.unavailable, self.table.ambiguous = step.unavailable, step.ambiguous
        self.table.unreadable, self.letters_refused = step.unreadable, step.letters_refused
        for _ in range(2 if step.replay else 1):
            try:
                await self.sink.store(block)
            except KafkaTimeoutError:
                self.restart()
                await self.sink.store(block)
            if step.restart:
                self.restart()
        self._move(step.moved)

    def _move(self, moved: set[int]) -> None:
        """These partitions go to another worker for one generation, and come back."""
        everything = set(range(PARTITIONS))
        for ours in (everything - moved, everything) if moved else ():
            self.generation += 1
            self.dedupe.revoked(everything)
            self.dedupe.assigned(ours, Membership("me", self.generation))

    def _record(self, lines: list[Line], foreign: bool) -> Record:
        ids = None if foreign else b"".join(line.id for line in lines)
        return self.log.record(lines[0].number % PARTITIONS, b"".join(line.text for line in lines), ids)


@pytest.fixture(scope="module", autouse=True)
def no_waiting() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.worker.until_stored._RETRY_FIRST_S", 0.0)
        yield


@examples(50)
@given(st.lists(STEPS, max_size=5))
def test_stored_is_distinct(steps: list[Step]) -> None:
    pipeline = Pipeline()

    async def run() -> None:
        for step in steps:
            await pipeline.take(step)

    with capture_logs():
        asyncio.run(run())
    sent = [line for step in steps for record in step.records for line in record]
    assert sorted(pipeline.table.ids) == sorted({line.id.hex() for line in sent if line.kind == "good"})
    bad = {line.id.hex() if line.kind == "refused" else "" for line in sent if line.kind != "good"}
    assert {_id_in(letter.payload) for letter in pipeline.letters} == bad


def _id_in(payload: str) -> str:
    """The event id of a dead letter's line; broken lines have none."""
    found = re.search(r'"event_id":"(\w+)"', payload)
    return found.group(1) if found else ""
