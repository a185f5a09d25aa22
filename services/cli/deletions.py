"""`headrace deletions`: what was deleted, after a restore."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.output import say
from services.cli.store import with_store
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Deletions of people and of windows.",
    epilog="Settings: `HEADRACE_CLICKHOUSE_*`.",
)


@app.callback()
def _group() -> None:
    """Makes `replay` a command of its own, also while it is the only one."""


@app.command("replay")
def replay(
    since: Annotated[datetime, typer.Option(help="When the backup was made, in UTC.")],
) -> None:
    """Do again the deletions that were done since then: a restored backup still has the data. Safe to repeat."""
    from services.operations.deletions import replay_deletions

    async def work(store: ClickHouse, settings: ClickHouseSettings) -> None:
        at = since if since.tzinfo else since.replace(tzinfo=UTC)
        count = await replay_deletions(store, at)
        say(f"{count:,} deletions are under way again")

    with_store(work)
