"""`python -m tests.bench.query.shards`: what each query costs on two shards, beside one server, of the same history.

Two engines share the cores of one machine here. So this shows the price of asking two, not what a second machine gains.
CPU is that of the engines and of the query service: on a machine that does other work too, it says more than the time.
"""

import asyncio
import contextlib
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import psutil
import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from services.contract.tables import EVENTS, IDENTITY_LOG, PERSON_IDS
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


class Served(Struct, frozen=True):
    """The settings of the query service and of an administrator, and the engines' processes."""

    query: ClickHouseSettings
    admin: ClickHouseSettings
    engines: list[psutil.Process]


class _Side(Struct, frozen=True):
    asker: Asker
    engines: list[psutil.Process]

    def cpu_ms(self) -> float:
        """So far; in steps of 10."""
        spent = [process.cpu_times() for process in (*self.engines, psutil.Process())]
        return sum(times.user + times.system for times in spent) * 1000


class _Price(Struct, frozen=True):
    """Of a query, on each side: the median and the least of its times, and the mean of its CPU."""

    median_ms: list[float]
    least_ms: list[float]
    cpu_ms: list[float]


@contextlib.contextmanager
def served_by(shards: int, history: History) -> Iterator[Served]:
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
        send_sql(admin, history.insert_groups(IDENTITY_LOG))
        send_sql(admin, f"OPTIMIZE TABLE {own_rows(admin, EVENTS)} FINAL")
        # Queries go to one server, as they do in production; only what Keeper would do goes by the front.
        direct = {"clickhouse_url": nodes[0].url}
        engines = [psutil.Process(node.pid) for node in nodes]
        yield Served(query.model_copy(update=direct), admin, engines)


def _measure(sides: Sequence[_Side], times: int) -> dict[str, _Price]:
    """By query; the sides take turns."""
    prices = {}
    for one in QUERIES:
        took: list[list[float]] = [[] for _ in sides]
        spent = [0.0 for _ in sides]
        for turn in range(times + 1):
            for at, side in enumerate(sides):
                before = side.cpu_ms()
                ms = side.asker.ask(one.path, one.body)
                if turn:  # the first one is not warm
                    took[at].append(ms)
                    spent[at] += side.cpu_ms() - before
        prices[one.name] = _Price(
            [statistics.median(so_far) for so_far in took],
            [min(so_far) for so_far in took],
            [cpu_ms / times for cpu_ms in spent],
        )
    return prices


def _cells(pair: Sequence[float]) -> list[str]:
    one, two = pair
    return [f"{one:.0f}", f"{two:.0f}", f"{two / one:.2f}"]


def main(
    events: Annotated[int, typer.Option(help="Events of the history.")] = 2_000_000,
    times: Annotated[int, typer.Option(help="How often each query is asked.")] = 7,
) -> None:
    """Ask every query on one server and on two shards, in turns."""
    history = History(events)
    with contextlib.ExitStack() as stack:
        sides = []
        for shards in (1, 2):
            served = stack.enter_context(served_by(shards, history))
            asker = stack.enter_context(query_service(served.query, served.admin))
            sides.append(_Side(asker, served.engines))
        prices = _measure(sides, times)
    headings = [
        ("one server, ms", "two shards, ms", "times"),
        ("least, one", "two", "times"),
        ("CPU ms, one", "two", "times"),
    ]
    table = Table("query", *[heading for three in headings for heading in three], title=f"{events:,} events")
    for name, price in prices.items():
        table.add_row(name, *_cells(price.median_ms), *_cells(price.least_ms), *_cells(price.cpu_ms))
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
