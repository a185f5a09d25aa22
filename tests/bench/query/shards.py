"""`python -m tests.bench.query.shards`: what each query costs on two shards, beside one server, of the same history.

Two engines share the cores of one machine here. So this shows the price of asking two, not what a second machine gains.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.contract.tables import EVENTS, PERSON_IDS
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate
from services.schema.roles import Role
from tests.bench.query.asking import query_service
from tests.bench.query.history import MERGED_PERCENT, History
from tests.bench.query.queries import QUERIES
from tests.support.cluster import CLUSTER, started_cluster
from tests.support.engine import own_rows, send_sql

_DATABASE = "bench"
_BLOCK_EVENTS = 500_000


@contextmanager
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


def _measure(shards: int, history: History, times: int) -> dict[str, float]:
    """Median of each query, in ms."""
    with _served(shards, history) as (query, admin), query_service(query, admin) as asker:
        took = {}
        for one in QUERIES:
            asker.ask(one.path, one.body)
            took[one.name] = statistics.median(asker.ask(one.path, one.body) for _ in range(times))
        return took


def main(
    events: Annotated[int, typer.Option(help="Events of the history.")] = 2_000_000,
    times: Annotated[int, typer.Option(help="How often each query is asked.")] = 7,
) -> None:
    """Ask every query on one server, then on two shards."""
    history = History(events)
    one, two = _measure(1, history, times), _measure(2, history, times)
    table = Table("query", "one server, ms", "two shards, ms", "times", title=f"{events:,} events")
    for name in one:
        table.add_row(name, f"{one[name]:.0f}", f"{two[name]:.0f}", f"{two[name] / one[name]:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
