"""`python -m tests.fault`: runs the scenarios and ends with status 1 when anything was lost, doubled or hung."""

import asyncio
import secrets
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.fault.broken import BUILDS
from tests.fault.report import totals
from tests.fault.run import Plan, Report
from tests.fault.scenarios import SCENARIOS
from tests.fault.suite import Options, apache_kafka_is_there, run_suite

console = Console(width=130)

Name = StrEnum("Name", {name: name for name in SCENARIOS})  # type: ignore[misc]
Build = StrEnum("Build", {name: name for name in BUILDS})  # type: ignore[misc]


class Broker(StrEnum):
    STRONGEST = "strongest"
    APACHE = "apache"
    EMBEDDED = "embedded"


def main(
    seed: Annotated[int | None, typer.Option(help="Seed of schedule and load; random when not given.")] = None,
    minutes: Annotated[float, typer.Option(help="Goes on at least so long, all scenarios together.")] = 0,
    scenario: Annotated[list[Name] | None, typer.Option(help="Only these; may be given several times.")] = None,
    broker: Annotated[
        Broker, typer.Option(help="strongest: Apache Kafka where Java and Maven are.")
    ] = Broker.STRONGEST,
    faults: Annotated[int, typer.Option(help="At least so many faults a scenario.")] = 20,
    events: Annotated[int, typer.Option(help="Events a second.")] = 6000,
    away: Annotated[float, typer.Option(help="Seconds that ClickHouse stays away in store-away.")] = 600,
    broken: Annotated[Build | None, typer.Option(help="A deliberately broken build, which must fail.")] = None,
    keep: Annotated[Path | None, typer.Option(help="A folder to keep data and logs in.")] = None,
) -> None:
    """Kill, stop and cut off every part of the pipeline under load, and count."""
    names = list(SCENARIOS) if not scenario else [name.value for name in scenario]
    plan = Plan(
        seed=secrets.randbelow(1_000_000) if seed is None else seed,
        faults=faults,
        seconds=minutes * 60 / len(names),
        events_s=events,
        away_s=away,
    )
    apache = broker is not Broker.EMBEDDED and (broker is Broker.APACHE or apache_kafka_is_there())
    console.print(f"broker: {'Apache Kafka by Maven' if apache else 'the embedded broker (Tansu)'}; seed {plan.seed}")
    with tempfile.TemporaryDirectory(prefix="headrace-fault-") as made:
        options = Options(apache, broken.value if broken else None, keep or Path(made))
        reports = asyncio.run(run_suite([SCENARIOS[name] for name in names], plan, options, console))
    _print_summary(reports)
    if any(report.failures for report in reports):
        raise SystemExit(1)


def _print_summary(reports: list[Report]) -> None:
    table = Table("scenario", *("faults", "events/s", "accepted", "stored", "lost", "doubled", "wrong", "result"))
    for column in table.columns[1:]:
        column.justify = "right"
    for report in reports:
        total = totals(report)
        times = sum(done.times for done in report.injected.values())
        rate = round((total.accepted + report.repeats) / report.load_s)
        numbers = (times, rate, total.accepted, total.stored, total.lost, total.doubled, total.wrong)
        result = "[red]FAILED[/red]" if report.failures else "passed"
        table.add_row(report.scenario, *[f"{number:,}" for number in numbers], result)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
