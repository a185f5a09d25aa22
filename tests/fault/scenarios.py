"""The scenarios: which faults, how many, on which stack."""

from dataclasses import dataclass

from tests.fault import faults
from tests.fault.faults import Fault
from tests.fault.stack import Shape

SINGLE = Shape()


@dataclass(frozen=True)
class Scenario:
    """`pause_s`: the longest time between the end of a fault and the next one."""

    name: str
    about: str
    faults: tuple[Fault, ...]
    shape: Shape = SINGLE
    pause_s: float = 1.5


SCENARIOS = {
    s.name: s
    for s in (
        Scenario(
            "kills",
            "kill -9 of worker, edge, ClickHouse and query service, in random order and at the worst points",
            (
                Fault("kill worker", faults.kill_worker),
                Fault("kill worker before its insert", faults.kill_worker_before_insert),
                Fault("kill worker between insert and commit", faults.kill_worker_before_commit),
                Fault("kill edge", faults.kill_edge),
                Fault("kill ClickHouse", faults.kill_clickhouse),
                Fault("kill query service", faults.kill_query),
            ),
        ),
    )
}
