"""`headrace partitions`: over how many partitions of the events topic ids are spread."""

from typing import Annotated

import typer

from services.cli.output import say
from services.cli.store import tool_settings, with_store
from services.operations.partitions import use_partitions
from services.runtime.clickhouse import ClickHouse
from services.runtime.partitioning import read_partitioning
from services.runtime.settings import ClickHouseSettings, WorkerSettings

app = typer.Typer(
    no_args_is_help=True,
    help="How event ids are spread over the partitions of the events topic.",
    epilog="Settings: `HEADRACE_CLICKHOUSE_*`, `HEADRACE_KAFKA_*`, `HEADRACE_WORKER_GROUP`.",
)


@app.command("show")
def show() -> None:
    """Print the number of partitions that are used."""

    async def ask(store: ClickHouse, settings: ClickHouseSettings) -> None:
        agreed = await read_partitioning(store)
        say(f"{agreed.partitions or 'none yet'} partitions in use, {agreed.buckets} buckets")

    with_store(ask)


@app.command("use")
def use(count: Annotated[int, typer.Argument(help="The first so many partitions of the topic.")]) -> None:
    """Use more or fewer partitions, from the next start of edges and workers.

    First make the topic larger, stop the edges, wait until the workers' lag is 0, and stop the workers.
    """
    worker = tool_settings(WorkerSettings)

    async def change(store: ClickHouse, settings: ClickHouseSettings) -> None:
        agreed = await use_partitions(store, worker, count)
        say(f"{agreed.partitions} partitions are used from the next start of edges and workers")

    with_store(change)
