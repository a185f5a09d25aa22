"""`headrace migrate` and `headrace roles`: the tables in ClickHouse, and who may do what with them."""

import asyncio
from typing import Annotated

import typer

from services.cli.output import say
from services.cli.store import store_errors, tool_settings
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate as apply_migrations
from services.schema.roles import roles_sql

app = typer.Typer()


@app.command(rich_help_panel="Operation")
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be applied.")] = False,
) -> None:
    """Create or update the tables in ClickHouse. Safe to repeat.

    Settings: `HEADRACE_CLICKHOUSE_*`.
    """
    settings = tool_settings(ClickHouseSettings)
    with store_errors():
        names = asyncio.run(apply_migrations(settings, dry_run=dry_run))
    for name in names:
        say(f"{'would apply' if dry_run else 'applied'} {name}")
    if not names:
        say("the tables are up to date")


@app.command(rich_help_panel="Operation")
def roles() -> None:
    """Print the SQL that makes ClickHouse's roles: what the edge, the worker, the query service and an admin may do.

    Give each service a user with its role: CREATE USER shop_edge IDENTIFIED BY '...' DEFAULT ROLE headrace_edge.
    """
    settings = tool_settings(ClickHouseSettings)
    for statement in roles_sql(settings.clickhouse_database, settings.clickhouse_cluster):
        typer.echo(f"{statement};")
