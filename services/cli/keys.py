"""`headrace keys`: project keys."""

import re
from typing import Annotated

import typer

from services.cli.output import say, say_table
from services.cli.store import with_store
from services.runtime.clickhouse import ClickHouse
from services.runtime.keys import Scope, create_key, is_project, list_keys, new_key, revoke_key
from services.runtime.settings import ClickHouseSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Project keys. A key is shown once, when it is made.",
    epilog="Settings: `HEADRACE_CLICKHOUSE_*`.",
)


@app.command("create")
def create(
    project: Annotated[str, typer.Option(help="Project that the key belongs to.")],
    scope: Annotated[list[Scope], typer.Option(help="May be given twice.")] = [Scope.INGEST, Scope.QUERY],  # noqa: B006
    name: Annotated[str, typer.Option(help="What the key is for, to tell keys apart.")] = "",
) -> None:
    """Make a key and print it, once."""
    if not is_project(project):
        raise typer.BadParameter(
            "a project's name has 1 to 200 printable characters, and no blank at its ends", param_hint="--project"
        )
    key = new_key()

    async def add(store: ClickHouse, settings: ClickHouseSettings) -> None:
        await create_key(store, key, project, set(scope), name)

    with_store(add)
    say(key)


@app.command("list")
def show_all() -> None:
    """List all keys: their ids, never the keys."""

    async def show(store: ClickHouse, settings: ClickHouseSettings) -> None:
        say_table(
            ("id", "project", "scopes", "name", "created", "revoked"),
            [
                (
                    key.key_id,
                    key.project_id,
                    ", ".join(key.scopes),
                    key.name,
                    f"{key.created_at:%Y-%m-%d %H:%M}",
                    "yes" if key.revoked else "",
                )
                for key in await list_keys(store)
            ],
        )

    with_store(show)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that `keys list` shows (at least 8 digits).")],
) -> None:
    """Revoke a key. Edge and query refuse it within seconds."""
    if not re.fullmatch("[0-9a-f]{8,}", key_id):
        raise typer.BadParameter("at least 8 hexadecimal digits of the id that `headrace keys list` shows")

    async def end(store: ClickHouse, settings: ClickHouseSettings) -> None:
        revoked = await revoke_key(store, key_id)
        if not revoked:
            raise typer.BadParameter(f"no key that is in force has an id beginning with {key_id}")
        say(f"revoked {revoked} key(s)")

    with_store(end)
