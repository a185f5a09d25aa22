"""`headrace identity`: merges and links of ids."""

from typing import Annotated

import typer

from services.cli.output import say
from services.cli.store import with_store
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_now
from services.runtime.settings import ClickHouseSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Merges and links of ids: who is one person.",
    epilog="Settings: `HEADRACE_CLICKHOUSE_*`.",
)


@app.command("unmerge")
def unmerge(
    project: Annotated[str, typer.Option(help="Project of the ids.")],
    old: Annotated[
        str,
        typer.Option(
            help="The id that was merged (alias's `old_id`, identify's `alias_for`) or linked (its `distinct_id`)."
        ),
    ],
    new: Annotated[str, typer.Option(help="The id that it was merged into, or linked to (identify's `user_id`).")],
) -> None:
    """Undo a merge or link of one id into another. Others that hold them together stay."""
    from services.operations.identity import unmerge as undo

    async def work(store: ClickHouse, settings: ClickHouseSettings) -> None:
        now = await undo(store, project, old, new, utc_now())
        say(f"{old} is {now.old_person}")
        say(f"{new} is {now.new_person}")
        if now.old_person == now.new_person:
            say("They are still one person, by other merges.")

    with_store(work)


@app.command("link-history")
def link_history(
    project: Annotated[str, typer.Option(help="Only this project; default: all.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become links.")] = False,
) -> None:
    """Make links of the identify calls with a `user_id` that were received before links counted. Safe to repeat.

    Their traits become the user's. Links that would join strangers do not count, as with new calls.
    """
    from services.operations.link_history import link_history as apply
    from services.operations.link_history import look_at_history, projects_with_history

    async def work(store: ClickHouse, settings: ClickHouseSettings) -> None:
        projects = [project] if project else await projects_with_history(store)
        for one in projects:
            history = await look_at_history(store, one)
            say(
                f"{one}: {history.calls:,} calls with a user_id, {history.counting:,} links that count, "
                f"{history.placeholders:,} calls with placeholders that stay as they are"
            )
            if dry_run:
                continue
            async for done in apply(store, one):
                say(f"{one}: {done:,} of {history.calls - history.placeholders:,}")
        if not projects:
            say("there is nothing to link")

    with_store(work)
