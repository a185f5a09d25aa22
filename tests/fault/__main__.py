"""`python -m tests.fault`: runs the scenarios and ends with status 1 when anything was lost, doubled or hung."""

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.devstack.broker import KafkaUnavailableError, find_kafka_jars
from tests.fault.report import print_report
from tests.fault.run import Report, run_scenario
from tests.fault.scenarios import SCENARIOS
from tests.fault.stack import Shape, started

console = Console(width=130)


def main(
    seed: Annotated[int | None, typer.Option(help="Seed of schedule and load; random when not given.")] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="Only these; may be given several times.")] = None,
    faults: Annotated[int, typer.Option(help="Faults a scenario.")] = 20,
    events: Annotated[int, typer.Option(help="Events a second.")] = 6000,
    broken: Annotated[str | None, typer.Option(help="commit-first, no-rebuild or no-final: must fail.")] = None,
) -> None:
    """Kill, stop and cut off every part of the pipeline under load, and count."""
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    reports = asyncio.run(run_all(scenario or list(SCENARIOS), seed, faults, events, broken))
    if any(report.failures for report in reports):
        raise SystemExit(1)


async def run_all(names: list[str], seed: int, faults: int, events_s: int, broken: str | None) -> list[Report]:
    reports = []
    for name in names:
        scenario = SCENARIOS[name]
        shape = scenario.shape
        shape = Shape(shape.brokers, shape.edges, shape.workers, broken)
        with tempfile.TemporaryDirectory(prefix="headrace-fault-") as data_dir:
            async with started(shape, Path(data_dir)) as stack:
                report = await run_scenario(stack, scenario, seed, faults, events_s)
                print_report(report, console)
                if report.failures or report.notes:
                    console.print(stack.logs_of_unplanned_exits(), highlight=False, markup=False)
                reports.append(report)
    return reports


def strongest_broker() -> int:
    """Brokers of Apache Kafka where it can run, else 0."""
    try:
        find_kafka_jars()
    except KafkaUnavailableError:
        return 0
    return 1


if __name__ == "__main__":
    typer.run(main)
