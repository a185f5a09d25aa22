"""`python -m tests.bench.query.shards`: what each query costs on two shards, beside one server, of the same history.

Two engines share the cores of one machine here. So this shows the price of asking two, not what a second machine gains.
"""

import asyncio
import contextlib
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.contract.tables import EVENTS, PERSON_IDS
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate
from services.schema.roles import Role
from tests.bench.query.asking import Asker, query_service
from tests.bench.query.history import MERGED_PERCENT, History
from tests.bench.query.queries import QUERIES
from tests.support.cluster import CLUSTER, started_cluster
from tests.support.engine import own_rows, send_sql

_DATABASE = "bench"
_BLOCK_EVENTS = 500_000


@contextlib.contextmanager
def _served(shards: int, history: History) -> Iterator[tuple[ClickHouseSettings, ClickHouseSettings]]:
    """The settings of the query service, and those of an administrator."""
    with (
        tempfile.TemporaryDirectory(prefix="headrace-shards-") as folder,
        started_cluster(Path(folder), (_DATABASE,), shards) as (front, nodes),
    ):
        query, admin = (
            ClickHouseSettings(
                clickhouse_url=front.url,
                clickhouse_database=_DATABASE,
                clickhouse_cluster=CLUSTER if shards > 1 else "",
                clickhouse_user=role.value,
                clickhouse_password=nodes[0].password(role),
            )
            for role in (Role.QUERY, Role.ADMIN)
        )
        asyncio.run(migrate(admin))
        for first in range(0, history.events, _BLOCK_EVENTS):
            count = min(_BLOCK_EVENTS, history.events - first)
            send_sql(admin, history.insert_events(EVENTS, first, count))
        send_sql(admin, history.insert_merges(PERSON_IDS, history.ids, MERGED_PERCENT))
        send_sql(admin, f"OPTIMIZE TABLE {own_rows(admin, EVENTS)} FINAL")
        # Queries go to one server, as they do in production; only what Keeper would do goes by the front.
        direct = {"clickhouse_url": nodes[0].url}
        yield query.model_copy(update=direct), admin


def _measure(askers: Sequence[Asker], times: int) -> dict[str, list[float]]:
    """Medians of each query, in ms, of each asker; they take turns."""
    medians = {}
    for one in QUERIES:
        took: list[list[float]] = [[] for _ in askers]
        for turn in range(times + 1):
            for asker, so_far in zip(askers, took, strict=True):
                ms = asker.ask(one.path, one.body)
                if turn:  # the first one is not warm
                    so_far.append(ms)
        medians[one.name] = [statistics.median(so_far) for so_far in took]
    return medians


def main(
    events: Annotated[int, typer.Option(help="Events of the history.")] = 2_000_000,
    times: Annotated[int, typer.Option(help="How often each query is asked.")] = 7,
) -> None:
    """Ask every query on one server and on two shards, in turns."""
    history = History(events)
    with contextlib.ExitStack() as stack:
        askers = []
        for shards in (1, 2):
            settings = stack.enter_context(_served(shards, history))
            askers.append(stack.enter_context(query_service(*settings)))
        medians = _measure(askers, times)
    table = Table("query", "one server, ms", "two shards, ms", "times", title=f"{events:,} events")
    for name, (one, two) in medians.items():
        table.add_row(name, f"{one:.0f}", f"{two:.0f}", f"{two / one:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
