"""What a fault has at hand: the stack, the load, who watches, and where to write down what it found."""

import random
from dataclasses import dataclass, field

from services.contract.log.dead_letter import Origin
from tests.fault.ledger import Ledger
from tests.fault.load import Load
from tests.fault.processes import Service, until
from tests.fault.proxy import Proxy
from tests.fault.stack import Stack
from tests.fault.watch import Watch


@dataclass
class Scene:
    """`away_s`: how long ClickHouse stays away in the scenario of that name. `dead_letters`: how many are expected.

    `poison`: places of bad lines in the log, each with the event that it becomes when it is repaired. `late_rows`:
    rows that lay in the parts twice. `recoveries_s`: from Kafka's return until all that was refused is accepted.
    `removed`: partition, first offset and the one behind the last, of all that Kafka has lost until now.
    """

    stack: Stack
    ledger: Ledger
    load: Load
    watch: Watch
    rng: random.Random
    away_s: float
    dead_letters: int = 0
    late_rows: int = 0
    recoveries_s: list[float] = field(default_factory=list)
    removed: list[tuple[int, int, int]] = field(default_factory=list)
    poison: list[tuple[Origin, int | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def check(self, holds: bool, failure: str) -> None:
        if not holds:
            self.failures.append(failure)

    async def busy_worker(self) -> tuple[Service, Proxy]:
        """A worker that has partitions, and its proxy. Waits until all partitions are held by somebody."""
        stack = self.stack
        await stack.wait_all_assigned()
        pairs: list[tuple[Service, Proxy]] = []

        async def found() -> bool:
            pairs[:] = [
                (worker, proxy)
                for worker, proxy in zip(stack.workers, stack.proxies, strict=True)
                if await stack.partitions_of(worker)
            ]
            return bool(pairs)

        await until(found, "a worker with partitions", 60)
        return self.rng.choice(pairs)
