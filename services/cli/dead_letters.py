"""`headrace dead-letters`: what could not be stored, and why."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from aiokafka.errors import KafkaError

from services.cli.output import say, say_json, say_table
from services.cli.store import advice_on_address, store_errors, tool_settings
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import EdgeSettings, KafkaSettings

if TYPE_CHECKING:
    from services.operations.dead_letters import StoredLetter

app = typer.Typer(
    no_args_is_help=True,
    help="Dead letters: events that could not be stored, and why.",
    epilog="Settings: `HEADRACE_KAFKA_*`, for `replay` `HEADRACE_CLICKHOUSE_*` too.",
)


@app.command("list")
def show_all(
    project: Annotated[str, typer.Option(help="Only letters of this project.")] = "",
    code: Annotated[str, typer.Option(help="Only letters with this code.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: repair the payloads, then `dead-letters replay`.")
    ] = False,
) -> None:
    """List the dead letters that are in the topic."""
    from services.operations.dead_letters import read_letters

    settings = tool_settings(KafkaSettings)

    async def show() -> None:
        rows = []
        async for stored in read_letters(settings):
            if (project and stored.letter.project_id != project) or (code and stored.letter.code != code):
                continue
            if as_json:
                say_json(stored)
            else:
                rows.append(_cells(stored))
        if not as_json:
            say_table(("place", "at", "project", "code", "origin", "reason", "payload"), rows)

    with _log_errors():
        asyncio.run(show())


def _cells(stored: "StoredLetter") -> list[str]:
    letter = stored.letter
    return [
        f"{stored.partition}:{stored.offset}",
        f"{letter.at:%Y-%m-%d %H:%M:%S}",
        letter.project_id,
        letter.code,
        msgspec.json.encode(letter.origin).decode(),
        letter.message,
        letter.payload[:200],
    ]


@app.command("replay")
def replay(
    file: Annotated[
        Path,
        typer.Argument(
            help="Repaired letters, in the form of `dead-letters list --json`.", exists=True, dir_okay=False
        ),
    ],
) -> None:
    """Put repaired letters back into the log, each once however often it is replayed."""
    from services.edge.event_log.port import LogUnavailableError
    from services.operations.dead_letters import put_back

    letters = _read_letters(file)
    settings = tool_settings(EdgeSettings)
    with _log_errors(LogUnavailableError), store_errors():
        replayed = asyncio.run(put_back(settings, letters))
    say(f"put back {replayed.put_back} of {len(letters)} letters")
    if replayed.deleted:
        say(f"{replayed.deleted} stay away: what they say was deleted since")
    for partition, offset, reason in replayed.failed:
        say(f"{partition}:{offset} is still not valid: {reason}")
    if replayed.failed:
        raise SystemExit(1)


@contextmanager
def _log_errors(*others: type[Exception]) -> Iterator[None]:
    """Adds to a failure to reach Kafka where its address is set. Raises OperatorError."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it says what its errors say once more
    try:
        yield
    except Exception as error:
        if not isinstance(error, (KafkaError, *others)):
            raise
        raise OperatorError(
            f"Kafka does not answer. {advice_on_address('HEADRACE_KAFKA_BOOTSTRAP')} {error}"
        ) from error


def _read_letters(file: Path) -> "list[StoredLetter]":
    """Raises OperatorError with the number of the first line that is no letter."""
    from services.operations.dead_letters import StoredLetter

    decoder = msgspec.json.Decoder(StoredLetter)
    letters = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            letters.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            raise OperatorError(f"{file}, line {number}: {error}. Nothing was put back.") from error
    return letters
