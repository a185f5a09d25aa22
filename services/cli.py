"""The `headrace` command: one subcommand a service, and the operator's tools."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.edge.event_log.port import LogUnavailableError
from services.operations.dead_letters import StoredLetter, put_back, read_letters
from services.operations.identity import NoSuchMergeError, unmerge
from services.operations.properties import PropertyError, demote, list_promoted, promote
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.clock import utc_now
from services.runtime.keys import Scope, create_key, list_keys, new_key, revoke_key
from services.runtime.settings import ClickHouseSettings, EdgeSettings, KafkaSettings
from services.schema.migrate import MigrationError, on_cluster
from services.schema.migrate import migrate as apply_migrations
from services.schema.roles import roles_sql

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Headrace: event pipeline for product analytics.")
keys_app = typer.Typer(no_args_is_help=True, help="Project keys. A key is shown once, when it is made.")
app.add_typer(keys_app, name="keys")
letters_app = typer.Typer(no_args_is_help=True, help="Dead letters: events that could not be stored, and why.")
app.add_typer(letters_app, name="dead-letters")
identity_app = typer.Typer(no_args_is_help=True, help="Merges of ids: who is one person.")
app.add_typer(identity_app, name="identity")
properties_app = typer.Typer(
    no_args_is_help=True, help="Promoted properties: event properties that have a column of their own."
)
app.add_typer(properties_app, name="properties")
out = Console()


@app.command()
def edge() -> None:
    """Run the ingest edge: takes events over HTTP, and answers when Kafka has them."""
    from services.edge.app import main as run

    run()


@app.command()
def worker() -> None:
    """Run a worker: moves events from Kafka to ClickHouse, each once."""
    from services.worker.app import main as run

    run()


@app.command()
def query() -> None:
    """Run the query service: queries, persons, deletions and dashboards over HTTP."""
    from services.query.app import main as run

    run()


@app.command()
def dev() -> None:
    """Run the whole pipeline on this machine, with an embedded broker and database (what `make run` does)."""
    from services.devstack.supervisor import run

    raise SystemExit(run())


@app.command()
def demo() -> None:
    """Send a real clickstream of 31,106 events through the pipeline and print its retention and paths."""
    from services.devstack.demo import run

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


@app.command()
def roles() -> None:
    """Print the SQL that makes ClickHouse's roles: what the edge, the worker, the query service and an admin may do.

    Give each service a user with its role: CREATE USER shop_edge IDENTIFIED BY '...' DEFAULT ROLE headrace_edge.
    """
    settings = ClickHouseSettings()
    for statement in roles_sql(settings.clickhouse_database, on_cluster(settings.clickhouse_cluster)):
        typer.echo(f"{statement};")


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


@letters_app.command("list")
def letters_list(
    project: Annotated[str, typer.Option(help="Only letters of this project.")] = "",
    code: Annotated[str, typer.Option(help="Only letters with this code.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: repair the payloads, then `dead-letters replay`.")
    ] = False,
) -> None:
    """List the dead letters that are in the topic."""

    async def show() -> None:
        table = Table("place", "at", "project", "code", "origin", "reason", "payload")
        async for stored in read_letters(KafkaSettings()):
            letter = stored.letter
            if (project and letter.project_id != project) or (code and letter.code != code):
                continue
            if as_json:
                sys.stdout.buffer.write(msgspec.json.encode(stored) + b"\n")
                continue
            origin = msgspec.json.encode(letter.origin).decode()
            table.add_row(
                f"{stored.partition}:{stored.offset}",
                f"{letter.at:%Y-%m-%d %H:%M:%S}",
                letter.project_id,
                letter.code,
                origin,
                letter.message,
                letter.payload[:200],
            )
        if not as_json:
            out.print(table)

    asyncio.run(show())


@letters_app.command("replay")
def letters_replay(
    file: Annotated[
        Path, typer.Argument(help="Repaired letters, in the form of `dead-letters list --json`.", exists=True)
    ],
) -> None:
    """Put repaired letters back into the log, each once however often it is replayed."""
    decoder = msgspec.json.Decoder(StoredLetter)
    letters = [decoder.decode(line) for line in file.read_bytes().splitlines() if line.strip()]
    replayed = asyncio.run(put_back(EdgeSettings(), letters))
    out.print(f"put back {replayed.put_back} of {len(letters)} letters")
    if replayed.deleted:
        out.print(f"{replayed.deleted} stay away: what they say was deleted since")
    for partition, offset, reason in replayed.failed:
        out.print(f"{partition}:{offset} is still not valid: {reason}", highlight=False)
    if replayed.failed:
        raise SystemExit(1)


@identity_app.command("unmerge")
def identity_unmerge(
    project: Annotated[str, typer.Option(help="Project of the ids.")],
    old: Annotated[str, typer.Option(help="The id that was merged (alias's `old_id`, identify's `alias_for`).")],
    new: Annotated[str, typer.Option(help="The id that it was merged into.")],
) -> None:
    """Undo a merge of one id into another. Other merges that hold them together stay."""

    async def undo(store: ClickHouse) -> None:
        now = await unmerge(store, project, old, new, utc_now())
        out.print(f"{old} is {now.old_person}", highlight=False, markup=False)
        out.print(f"{new} is {now.new_person}", highlight=False, markup=False)
        if now.old_person == now.new_person:
            out.print("They are still one person, by other merges.")

    _with_store(undo)


@properties_app.command("list")
def properties_list() -> None:
    """List the promoted properties, and how many of the rows have them on disk."""

    async def show(store: ClickHouse) -> None:
        table = Table("property", "rows on disk", "of")
        for promoted in await list_promoted(store):
            table.add_row(Text(promoted.key), f"{promoted.rows_written:,}", f"{promoted.rows:,}")
        out.print(table)

    _with_store(show)


@properties_app.command("promote")
def properties_promote(
    key: Annotated[str, typer.Argument(help="The property, as filters name it: dots reach into objects.")],
    new_only: Annotated[
        bool,
        typer.Option(
            "--new-only", help="Write the column for new events only. Queries still compute it for the stored ones."
        ),
    ] = False,
) -> None:
    """Give a property a column of its own: queries that read it are many times as fast, with the same answers."""

    async def add(store: ClickHouse) -> None:
        await promote(store, ClickHouseSettings().clickhouse_cluster, key, new_only=new_only)
        out.print(f"promoted {key}: new events are stored with it, queries use it within seconds", markup=False)
        if not new_only:
            out.print("ClickHouse writes it for the stored events in the background; see `headrace properties list`")

    _with_store(add)


@properties_app.command("demote")
def properties_demote(
    key: Annotated[str, typer.Argument(help="A property that `properties list` shows.")],
) -> None:
    """Drop a property's column. Nothing is lost: queries read the property from the text again."""

    async def drop(store: ClickHouse) -> None:
        await demote(store, ClickHouseSettings().clickhouse_cluster, key)
        out.print(f"demoted {key}", markup=False)

    _with_store(drop)


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
    except (
        StoreError,
        NoSuchMergeError,
        PropertyError,
        MigrationError,
        KafkaError,
        LogUnavailableError,
        msgspec.DecodeError,
    ) as error:
        print(f"headrace: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
