"""`python -m tests.bench.query.deleted`: what each query costs where many ids were deleted.

Two ways in turns: the ids as constants of the statement, and as a join, which the service takes where there are many.
"""

import statistics
from collections.abc import Sequence
from typing import Annotated
from unittest import mock

import psutil
import typer
from rich.console import Console
from rich.table import Table

from services.contract.tables import DELETED_IDS
from services.query.execution.project_facts import ProjectFacts
from tests.bench.query.asking import Asker, query_service
from tests.bench.query.history import PROJECT, History
from tests.bench.query.queries import QUERIES
from tests.bench.query.shards import served_by
from tests.support.engine import send_sql

_COUNTS = (0, 1_000, 10_000, 100_000)
_JOINED = (False, True)


def _measure(asker: Asker, engines: Sequence[psutil.Process], times: int) -> list[list[str]]:
    """A row a query: medians of ms, and CPU ms of engine and service, of both ways."""
    rows = []
    for one in QUERIES:
        took: dict[bool, list[float]] = {joined: [] for joined in _JOINED}
        spent = dict.fromkeys(_JOINED, 0.0)
        for turn in range(times + 1):
            for joined in _JOINED:
                with mock.patch.object(ProjectFacts, "has_many_deleted", return_value=joined):
                    before = _cpu_ms(engines)
                    ms = asker.ask(one.path, one.body)
                if turn:  # the first one is not warm
                    took[joined].append(ms)
                    spent[joined] += _cpu_ms(engines) - before
        rows.append(
            [one.name]
            + [f"{statistics.median(took[joined]):.0f}" for joined in _JOINED]
            + [f"{spent[joined] / times:.0f}" for joined in _JOINED]
        )
    return rows


def _cpu_ms(engines: Sequence[psutil.Process]) -> float:
    spent = [process.cpu_times() for process in (*engines, psutil.Process())]
    return sum(times.user + times.system for times in spent) * 1000


def main(
    events: Annotated[int, typer.Option(help="Events of the history.")] = 2_000_000,
    times: Annotated[int, typer.Option(help="How often each query is asked.")] = 5,
) -> None:
    """Ask every query with more and more deleted ids, none of which has an event."""
    history = History(events)
    with served_by(1, history) as served, query_service(served.query, served.admin) as asker:
        deleted = 0
        for count in _COUNTS:
            send_sql(
                served.admin,
                f"INSERT INTO {DELETED_IDS} (project_id, distinct_id, deletion_id, before) SELECT '{PROJECT}', "
                f"'deleted ' || toString(number), generateUUIDv4(), now64(6) FROM numbers({deleted}, {count - deleted})",
            )
            deleted = count
            columns = ("query", "constants, ms", "join, ms", "constants, CPU ms", "join, CPU ms")
            table = Table(*columns, title=f"{events:,} events, {count:,} deleted ids")
            for row in _measure(asker, served.engines, times):
                table.add_row(*row)
            Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
