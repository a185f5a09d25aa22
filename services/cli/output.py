"""Where the operator's tools print. All text may be foreign, so none of it is markup, and control characters are shown."""

import json
import sys
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from services.runtime.printable import printable

_out = Console()


def say(text: str) -> None:
    """A line."""
    _out.print(Text(printable(text)), soft_wrap=True)


def say_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    # Folded where a terminal is narrow: half an error code, or half an id, says nothing.
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    _out.print(table)


def say_json(value: object) -> None:
    """A line of JSON in ASCII: the same value, and nothing that a terminal takes for a command."""
    line = json.dumps(msgspec.to_builtins(value), separators=(",", ":")).replace("\x7f", "\\u007f")
    sys.stdout.write(line + "\n")
