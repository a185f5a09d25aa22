"""`headrace identity`: merges of ids."""

from typing import Annotated

import typer

from services.cli.output import say
from services.cli.store import with_store
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_now
from services.runtime.settings import ClickHouseSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Merges of ids: who is one person.",
    epilog="Settings: `HEADRACE_CLICKHOUSE_*`.",
)


@app.callback()
def _group() -> None:
    """Keeps `unmerge` a subcommand, although it is the only one."""


@app.command("unmerge")
def unmerge(
    project: Annotated[str, typer.Option(help="Project of the ids.")],
    old: Annotated[str, typer.Option(help="The id that was merged (alias's `old_id`, identify's `alias_for`).")],
    new: Annotated[str, typer.Option(help="The id that it was merged into.")],
) -> None:
    """Undo a merge of one id into another. Other merges that hold them together stay."""
    from services.operations.identity import unmerge as undo

    async def work(store: ClickHouse, settings: ClickHouseSettings) -> None:
        now = await undo(store, project, old, new, utc_now())
        say(f"{old} is {now.old_person}")
        say(f"{new} is {now.new_person}")
        if now.old_person == now.new_person:
            say("They are still one person, by other merges.")

    with_store(work)
