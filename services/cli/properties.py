"""`headrace properties`: properties of events that have a column of their own."""

from typing import Annotated

import typer

from services.cli.output import say, say_table
from services.cli.store import with_store
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Promoted properties: event properties that have a column of their own.",
    epilog="Settings: `HEADRACE_CLICKHOUSE_*`.",
)


@app.command("list")
def show_all() -> None:
    """List the promoted properties, and how many of the rows have them on disk."""
    from services.operations.properties import list_promoted

    async def show(store: ClickHouse, settings: ClickHouseSettings) -> None:
        rows = [(each.key, f"{each.rows_written:,}", f"{each.rows:,}") for each in await list_promoted(store)]
        say_table(("property", "rows on disk", "of"), rows)

    with_store(show)


@app.command("promote")
def promote(
    key: Annotated[str, typer.Argument(help="The property, as filters name it: dots reach into objects.")],
    new_only: Annotated[
        bool,
        typer.Option(
            "--new-only", help="Write the column for new events only. Queries still compute it for the stored ones."
        ),
    ] = False,
) -> None:
    """Give a property a column of its own: queries that read it are many times as fast, with the same answers."""
    from services.operations.properties import promote as add_column

    async def add(store: ClickHouse, settings: ClickHouseSettings) -> None:
        await add_column(store, settings.clickhouse_cluster, key, new_only=new_only)
        say(f"promoted {key}: new events are stored with it, queries use it within seconds")
        if not new_only:
            say("ClickHouse writes it for the stored events in the background; see `headrace properties list`")

    with_store(add)


@app.command("demote")
def demote(
    key: Annotated[str, typer.Argument(help="A property that `properties list` shows.")],
) -> None:
    """Drop a property's column. Nothing is lost: queries read the property from the text again."""
    from services.operations.properties import demote as drop_column

    async def drop(store: ClickHouse, settings: ClickHouseSettings) -> None:
        await drop_column(store, settings.clickhouse_cluster, key)
        say(f"demoted {key}")

    with_store(drop)
