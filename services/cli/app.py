"""All commands as one program."""

from typing import Annotated

import typer

from services import __version__
from services.cli import (
    check,
    dead_letters,
    deletions,
    identity,
    keys,
    partitions,
    processes,
    projects,
    properties,
    tables,
    usage,
)
from services.runtime.operator_errors import errors_for_operators

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Headrace: event pipeline for product analytics.",
    epilog="Settings are environment variables HEADRACE_...: deploy/env.full lists them all.",
)
app.add_typer(processes.app)
app.add_typer(tables.app)
app.add_typer(check.app)
app.add_typer(usage.app)
for name, group in {
    "keys": keys.app,
    "projects": projects.app,
    "properties": properties.app,
    "identity": identity.app,
    "dead-letters": dead_letters.app,
    "deletions": deletions.app,
    "partitions": partitions.app,
}.items():
    app.add_typer(group, name=name, rich_help_panel="Operation")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headrace {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Takes the options that stand before a command."""


def main() -> None:
    """Entry point."""
    with errors_for_operators():
        app()
