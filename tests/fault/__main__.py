"""`python -m tests.fault`: runs the scenarios and ends with status 1 when anything was lost, doubled or hung."""

import asyncio
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.devstack.broker import KafkaUnavailableError, find_kafka_jars
from tests.fault.report import print_report
from tests.fault.run import Plan, Report, run_scenario
from tests.fault.scenarios import SCENARIOS
from tests.fault.stack import Shape, started

console = Console(width=130)


def main(
    seed: Annotated[int | None, typer.Option(help="Seed of schedule and load; random when not given.")] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="Only these; may be given several times.")] = None,
    faults: Annotated[int, typer.Option(help="Faults a scenario.")] = 20,
    events: Annotated[int, typer.Option(help="Events a second.")] = 6000,
    away: Annotated[float, typer.Option(help="Seconds that ClickHouse stays away.")] = 60,
    keep: Annotated[Path | None, typer.Option(help="A folder to keep data and logs in.")] = None,
    broken: Annotated[str | None, typer.Option(help="commit-first, no-rebuild or no-final: must fail.")] = None,
) -> None:
    """Kill, stop and cut off every part of the pipeline under load, and count."""
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    plan = Plan(seed, faults, events, away)
    reports = asyncio.run(run_all(scenario or list(SCENARIOS), plan, broken, keep))
    if any(report.failures for report in reports):
        raise SystemExit(1)


async def run_all(names: list[str], plan: Plan, broken: str | None, keep: Path | None) -> list[Report]:
    reports = []
    brokers = strongest_broker()
    for name in names:
        scenario = SCENARIOS[name]
        if scenario.durable and not brokers:
            console.print(f"{name}: skipped, the embedded broker keeps nothing")
            continue
        shape = Shape(brokers=brokers and scenario.brokers, broken=broken)
        with _data_dir(keep, name) as data_dir:
            async with started(shape, data_dir) as stack:
                report = await run_scenario(stack, scenario, plan)
                print_report(report, console)
                if report.failures or report.notes:
                    console.print(stack.logs_of_unplanned_exits(), highlight=False, markup=False)
                reports.append(report)
    return reports


@contextmanager
def _data_dir(keep: Path | None, name: str) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="headrace-fault-") as made:
            yield Path(made)
    else:
        yield keep / name


def strongest_broker() -> int:
    """1: Apache Kafka can run; 0: only the embedded broker can."""
    try:
        find_kafka_jars()
    except KafkaUnavailableError:
        return 0
    return 1


if __name__ == "__main__":
    typer.run(main)
