"""What queries cost by project: counted also when they fail, and not while they wait."""

import asyncio
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from services.query.execution.executor import QueryExecutor
from services.query.execution.limits import Limits
from services.query.execution.project_facts import ProjectFacts
from services.query.execution.turns import StoreTurns
from services.runtime.clickhouse import ClickHouse, StoreUnavailableError

LIMITS = Limits(20, 2**30, 10**9, concurrency=1, queue=5)


def sample(metric: str, project: str) -> float:
    return REGISTRY.get_sample_value(f"headrace_query_project_{metric}_total", {"project": project}) or 0


async def test_seconds_and_reads_are_the_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("services.query.execution.turns.perf_counter", lambda: clock[0])
    none = cast(ClickHouse, None)
    turns = StoreTurns(QueryExecutor(none, LIMITS, ProjectFacts(none, 60)), LIMITS)

    async def slow(_: Any) -> str:
        await asyncio.sleep(0)
        clock[0] += 5
        return "done"

    async def fails(_: Any) -> None:
        clock[0] += 1
        raise StoreUnavailableError("away")

    # The second waits for the first: it costs what it takes, not what it waits.
    answers = await asyncio.gather(turns.run("cost-a", slow), turns.run("cost-a", slow))
    assert list(answers) == ["done", "done"]
    assert (sample("queries", "cost-a"), sample("seconds", "cost-a")) == (2, 10)
    with pytest.raises(StoreUnavailableError):
        await turns.run("cost-b", fails)
    assert (sample("queries", "cost-b"), sample("seconds", "cost-b")) == (1, 1)
