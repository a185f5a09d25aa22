"""The `headrace` command: one subcommand a service, and the operator's tools."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.keys import Scope, create_key, list_keys, new_key, revoke_key
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import MigrationError
from services.schema.migrate import migrate as apply_migrations

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Headrace: event pipeline for product analytics.")
keys_app = typer.Typer(no_args_is_help=True, help="Project keys. A key is shown once, when it is made.")
app.add_typer(keys_app, name="keys")
out = Console()


@app.command()
def edge() -> None:
    """Run the ingest edge (settings: environment variables HEADRACE_EDGE_*, HEADRACE_KAFKA_*, ...)."""
    from services.edge.app import main as run

    run()


@app.command()
def worker() -> None:
    """Run a worker."""
    from services.worker.app import main as run

    run()


@app.command()
def query() -> None:
    """Run the query service."""
    from services.query.app import main as run

    run()


@app.command()
def dev() -> None:
    """Run the whole pipeline on this machine, with an embedded broker and database (what `make run` does)."""
    from services.devstack.supervisor import run

    raise SystemExit(run())


@app.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be applied.")] = False,
) -> None:
    """Create or update the tables in ClickHouse. Safe to repeat."""
    names = asyncio.run(apply_migrations(ClickHouseSettings(), dry_run=dry_run))
    for name in names:
        out.print(f"{'would apply' if dry_run else 'applied'} {name}")
    if not names:
        out.print("the tables are up to date")


@keys_app.command("create")
def keys_create(
    project: Annotated[str, typer.Option(help="Project that the key belongs to.")],
    scope: Annotated[list[Scope], typer.Option(help="May be given twice.")] = [Scope.INGEST, Scope.QUERY],  # noqa: B006
    name: Annotated[str, typer.Option(help="What the key is for, to tell keys apart.")] = "",
) -> None:
    """Make a key and print it, once."""
    key = new_key()

    async def create(store: ClickHouse) -> None:
        await create_key(store, key, project, set(scope), name)

    _with_store(create)
    out.print(key, highlight=False)


@keys_app.command("list")
def keys_list() -> None:
    """List all keys: their ids, never the keys."""

    async def show(store: ClickHouse) -> None:
        table = Table("id", "project", "scopes", "name", "created", "revoked")
        for key in await list_keys(store):
            table.add_row(
                key.key_id,
                key.project_id,
                ", ".join(key.scopes),
                key.name,
                f"{key.created_at:%Y-%m-%d %H:%M}",
                "yes" if key.revoked else "",
            )
        out.print(table)

    _with_store(show)


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="The id that `keys list` shows (at least 8 digits).")],
) -> None:
    """Revoke a key. Edge and query refuse it within seconds."""
    if len(key_id) < 8 or not all(c in "0123456789abcdef" for c in key_id):
        raise typer.BadParameter("at least 8 hexadecimal digits of the id that `headrace keys list` shows")

    async def revoke(store: ClickHouse) -> None:
        revoked = await revoke_key(store, key_id)
        if not revoked:
            raise typer.BadParameter(f"no key that is in force has an id beginning with {key_id}")
        out.print(f"revoked {revoked} key(s)")

    _with_store(revoke)


def _with_store(work: Callable[[ClickHouse], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await ClickHouse.connect(ClickHouseSettings())
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


def main() -> None:
    """Entry point: errors that the operator can mend are one line, not a traceback."""
    try:
        app()
    except (StoreError, MigrationError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
