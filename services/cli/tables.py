"""`headrace migrate`: the tables in ClickHouse."""

import asyncio
from typing import Annotated

import typer

from services.cli.store import out, store_errors, tool_settings
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate as apply_migrations

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
        out.print(f"{'would apply' if dry_run else 'applied'} {name}")
    if not names:
        out.print("the tables are up to date")
