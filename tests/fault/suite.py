"""Runs scenarios, one after the other on one stack for as long as none fails and the number of brokers is the same."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from services.devstack.broker import KafkaUnavailableError, find_kafka_jars
from tests.bench.against.build import has_commit
from tests.fault.report import print_report
from tests.fault.run import Plan, Report, compare_again, run_scenario
from tests.fault.scenarios import Scenario
from tests.fault.stack import Shape, Stack, started


@dataclass(frozen=True)
class Options:
    """`apache`: whether brokers are Apache Kafka, or the embedded one. `broken`: see broken.py."""

    apache: bool
    broken: str | None
    data_dir: Path


def apache_kafka_is_there() -> bool:
    try:
        find_kafka_jars()
    except KafkaUnavailableError:
        return False
    return True


async def run_suite(scenarios: Sequence[Scenario], plan: Plan, options: Options, console: Console) -> list[Report]:
    """Prints and gives each scenario's report. Those that mostly wait run beside the others, on a stack of their own."""
    groups = [[s for s in scenarios if s.beside is beside] for beside in (False, True)]
    reports = await asyncio.gather(*[_run_one_by_one(group, plan, options, console) for group in groups if group])
    return [report for group in reports for report in group]


async def _run_one_by_one(
    scenarios: Sequence[Scenario], plan: Plan, options: Options, console: Console
) -> list[Report]:
    stacks, reports = Stacks(options), []
    try:
        for scenario, following in zip(scenarios, [*scenarios[1:], None], strict=True):
            if scenario.durable and not options.apache:
                console.print(f"{scenario.name}: skipped, the embedded broker keeps nothing", style="yellow")
                continue
            if scenario.base and not has_commit(scenario.base):
                console.print(f"{scenario.name}: skipped, this clone has no commit {scenario.base}", style="yellow")
                continue
            stack = await stacks.get(scenario)
            report = await run_scenario(stack, scenario, plan)
            if following is None or _shape_of(following) != _shape_of(scenario):
                report.failures += await compare_again(stack)
            print_report(report, console)
            if report.failures:
                console.print(f"logs: {stack.data_dir}", highlight=False)
                console.print(stack.log_tails(), highlight=False, markup=False)
                await stacks.close()
            reports.append(report)
    finally:
        await stacks.close()
    return reports


def _shape_of(scenario: Scenario) -> tuple[int, int, int, str | None]:
    """Those that have the same run on one stack."""
    return scenario.brokers, scenario.shards, scenario.workers, scenario.base


class Stacks:
    """One stack at a time: the last one, while it fits."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._exit = AsyncExitStack()
        self._stack: Stack | None = None

    async def get(self, scenario: Scenario) -> Stack:
        brokers = scenario.brokers if self._options.apache else 0
        shape = Shape(
            brokers=brokers,
            workers=scenario.workers,
            broken=self._options.broken,
            base=scenario.base,
            shards=scenario.shards,
        )
        if self._stack is None or self._stack.shape != shape:
            await self.close()
            data_dir = self._options.data_dir / f"from-{scenario.name}"
            self._stack = await self._exit.enter_async_context(started(shape, data_dir))
        return self._stack

    async def close(self) -> None:
        self._stack = None
        await self._exit.aclose()
