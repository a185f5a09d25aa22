"""A deletion log without Kafka: a worker that is always at the end of it settles deletions at once."""

from collections.abc import Callable

from services.contract.log.marks import DeletionLine
from services.query.persons.deletion_log import LogUnavailableError, Places
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.worker.identity.writer import IdentityStore
from services.worker.record import Record


class WorkersAtTheEnd:
    """`settings`: those of a worker. `is_away`: no call succeeds. `is_held`: workers do not read; `let_go` makes them.

    `marks`: those that were written.
    """

    def __init__(self, settings: ClickHouseSettings, on_mark: Callable[[bytes], None] = lambda _: None) -> None:
        self._settings = settings
        self._on_mark = on_mark
        self._waiting: list[DeletionLine] = []
        self.is_away = False
        self.is_held = False
        self.marks: list[bytes] = []
        self.announced: list[DeletionLine] = []

    async def announce(self, line: DeletionLine) -> None:
        self._check()
        self.announced.append(line)
        self._waiting.append(line)
        if not self.is_held:
            await self.let_go()

    async def let_go(self) -> None:
        self.is_held = False
        lines, self._waiting = self._waiting, []
        store = ClickHouse(self._settings)
        try:
            for line in lines:
                assert not await IdentityStore(store).keep([record_of(line)])
        finally:
            await store.close()

    async def mark(self, mark: bytes) -> Places:
        self._check()
        self.marks.append(mark)
        self._on_mark(mark)
        return {0: len(self.marks)}

    async def is_past(self, places: Places) -> bool:
        self._check()
        return not self.is_held

    async def stop(self) -> None: ...

    def _check(self) -> None:
        if self.is_away:
            raise LogUnavailableError("away")


def record_of(*lines: DeletionLine) -> Record:
    return Record("identity", 0, 0, b"".join(line.encode() for line in lines), None, lambda: None)
