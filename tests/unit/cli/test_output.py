"""What the tools print is text, whoever wrote it: no markup, and nothing that a terminal obeys."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from rich.console import Console

from services.cli import dead_letters, keys, output
from services.cli.output import say, say_json, say_table
from services.contract.log.dead_letter import DeadLetter, Origin
from services.operations.dead_letters import StoredLetter
from services.runtime.keys import KeyRecord
from services.runtime.operator_errors import print_error
from services.runtime.printable import printable

pytestmark = pytest.mark.usefixtures("logs_as_before")

FOREIGN = [
    "[/x]",
    "[red]x",
    "[link=http://127.0.0.1/]x[/link]",
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\rb",
    "\u202ex",
    "\ud800",
]
# ESC, C1 controls, and what turns text around.
OBEYED = set(map(chr, [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), 0x200E, 0x200F]))


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console finds out where standard output is when it prints."""
    monkeypatch.setattr(output, "_out", Console(width=400))


def record(text: str) -> KeyRecord:
    return KeyRecord("0123456789ab", text, [text], text, datetime(2026, 11, 20, tzinfo=UTC), False)


def letter(text: str) -> StoredLetter:
    origin = Origin(service="edge")
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return StoredLetter(
        partition=0,
        offset=1,
        letter=DeadLetter(project_id=text, at=at, code=text, message=text, origin=origin, payload=text),
    )


@pytest.mark.parametrize("text", FOREIGN)
def test_lines_and_tables_show_it_as_it_is(capsys: pytest.CaptureFixture[str], text: str) -> None:
    say(text)
    say_table(["name"], [[text]])
    printed = capsys.readouterr().out
    assert printed.count(printable(text)) == 2
    assert not OBEYED & set(printed)


def test_a_narrow_terminal_cuts_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_out", Console(width=24))
    say_table(["code", "id"], [["invalid_timestamp", "0123456789abcdef"]])
    cells = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert "".join(cell[1].strip() for cell in cells) == "invalid_timestamp"
    assert "".join(cell[2].strip() for cell in cells) == "0123456789abcdef"


@pytest.mark.parametrize("text", FOREIGN)
def test_keys_and_letters_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    async def all_keys(store: object) -> list[KeyRecord]:
        return [record(text)]

    monkeypatch.setattr(keys, "list_keys", all_keys)
    monkeypatch.setattr(keys, "with_store", lambda work: asyncio.run(work(None, None)))
    keys.show_all()
    monkeypatch.setattr("services.operations.dead_letters.read_letters", lambda settings: letters(text))
    dead_letters.show_all()
    printed = capsys.readouterr().out
    assert printed.count(printable(text)) >= 6
    assert not OBEYED & set(printed)


async def letters(text: str) -> AsyncIterator[StoredLetter]:
    yield letter(text)


@pytest.mark.parametrize("text", [text for text in FOREIGN if text != "\ud800"])
def test_json_is_the_same_value_and_moves_no_cursor(capsys: pytest.CaptureFixture[str], text: str) -> None:
    say_json(letter(text))
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert printed.removesuffix("\n").isprintable()
    assert json.loads(printed)["letter"]["payload"] == text


def test_errors_on_standard_error_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("no such table [/x] \x1b[2J\nand more\x9b")
    assert capsys.readouterr().err == "headrace: no such table [/x] \\x1b[2J\nheadrace: and more\\x9b\n"
