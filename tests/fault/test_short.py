"""The short form of the fault suite: each scenario once, with a few faults, on the strongest broker that is there."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.fault.report import print_report
from tests.fault.run import Plan, Report, run_scenario
from tests.fault.scenarios import SCENARIOS, Scenario
from tests.fault.suite import Options, Stacks, apache_kafka_is_there

SEED = 1
EVENTS_S = 1000
AWAY_S = 10


class Suite:
    """The stacks, and the event loop that they live in between the tests."""

    def __init__(self, data_dir: Path) -> None:
        self.options = Options(apache_kafka_is_there(), broken=None, data_dir=data_dir)
        self.runner = asyncio.Runner()
        self._stacks = Stacks(self.options)

    def run(self, scenario: Scenario) -> Report:
        plan = Plan(SEED, faults=scenario.short, seconds=0, events_s=EVENTS_S, away_s=AWAY_S)
        return self.runner.run(self._run(scenario, plan))

    async def _run(self, scenario: Scenario, plan: Plan) -> Report:
        stack = await self._stacks.get(scenario)
        report = await run_scenario(stack, scenario, plan)
        print_report(report, Console(width=130))
        if report.failures:
            print(stack.log_tails())
            await self._stacks.close()
        return report

    def close(self) -> None:
        self.runner.run(self._stacks.close())
        self.runner.close()


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    running = Suite(tmp_path_factory.mktemp("fault"))
    yield running
    running.close()


# They stop all nodes of a cluster, start each worker three times, send a gigabyte, or set another version up, which takes
# minutes on a busy machine: `make fault` runs them.
LONG = {"log-truncated", "retention-overtakes", "rolling-restart", "big-bodies", "upgrade"}


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in LONG])
def test_everything_accepted_is_stored_exactly_once(suite: Suite, name: str) -> None:
    scenario = SCENARIOS[name]
    if scenario.durable and not suite.options.apache:
        pytest.skip("the embedded broker keeps nothing")
    assert suite.run(scenario).failures == []
