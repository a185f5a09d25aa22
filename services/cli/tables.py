"""`headrace migrate` and `headrace roles`: the tables in ClickHouse, and who may do what with them."""

import asyncio
from typing import Annotated

import typer

from services.cli.output import say, say_table
from services.cli.store import store_errors, tool_settings, with_store
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate as apply_migrations
from services.schema.migrate import steps_ahead
from services.schema.roles import roles_sql

app = typer.Typer()


@app.command(rich_help_panel="Operation")
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Create or update the tables in ClickHouse. Safe to repeat.

    Settings: `HEADRACE_CLICKHOUSE_*`.
    """
    settings = tool_settings(ClickHouseSettings)
    with store_errors():
        if dry_run:
            said = [f"would {step}" for step in asyncio.run(steps_ahead(settings))]
        else:
            said = [f"applied {name}" for name in asyncio.run(apply_migrations(settings))]
    for line in said:
        say(line)
    if not said:
        say("the tables are up to date")


@app.command(rich_help_panel="Operation")
def shards() -> None:
    """Print how events lie on the shards of a cluster, and how many of them would go to another shard today.

    After a shard was added these stay where they are, and are found there: nothing has to be moved.
    Settings: `HEADRACE_CLICKHOUSE_*`.
    """
    from services.operations.shards import look_at_shards

    async def show(store: ClickHouse, settings: ClickHouseSettings) -> None:
        rows = [
            (str(each.number), f"{each.rows:,}", f"{each.elsewhere:,}", f"{each.share:.0%}")
            for each in await look_at_shards(store)
        ]
        say_table(("shard", "events", "of them elsewhere today", "of what comes"), rows)

    with_store(show)


@app.command(rich_help_panel="Operation")
def roles() -> None:
    """Print the SQL that makes ClickHouse's roles: what the edge, the worker, the query service and an admin may do.

    Give each service a user with its role: CREATE USER shop_edge IDENTIFIED BY '...' DEFAULT ROLE headrace_edge.
    """
    settings = tool_settings(ClickHouseSettings)
    for statement in roles_sql(settings.clickhouse_database, settings.clickhouse_cluster):
        typer.echo(f"{statement};")
