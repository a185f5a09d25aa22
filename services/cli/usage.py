"""`headrace usage`: what projects have sent and what is stored of them, day by day."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from services.cli.output import say_json, say_table
from services.cli.store import with_store
from services.runtime.clickhouse import ClickHouse
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import ClickHouseSettings

app = typer.Typer()
_FORMAT = ["%Y-%m-%d"]
_USUAL_DAYS = 30


@app.command(rich_help_panel="Operation")
def usage(
    project: Annotated[str, typer.Option(help="Only this project.")] = "",
    since: Annotated[
        datetime | None, typer.Option(formats=_FORMAT, help="First day; 30 days ago if not given.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(formats=_FORMAT, help="The day behind the last one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show events, bytes and people by project and day (UTC).

    `accepted` and `bytes` are what edges took on that day, duplicates included. `stored` and `people` are what answers show
    of events of that day; people are some 2 % off. Settings: `HEADRACE_CLICKHOUSE_*`.
    """
    from services.operations.usage import read_usage

    now = datetime.now(UTC)
    first = (since or now - timedelta(days=_USUAL_DAYS)).date()
    end = (until or now + timedelta(days=1)).date()
    if first >= end:
        raise OperatorError(f"--since {first} is not before --until {end}")

    async def show(store: ClickHouse, settings: ClickHouseSettings) -> None:
        days = await read_usage(store, project, first, end)
        if as_json:
            for each in days:
                say_json(each)
            return
        say_table(
            ("project", "day", "accepted", "bytes", "stored", "people"),
            [
                (
                    each.project,
                    str(each.day),
                    *(f"{n:,}" for n in (each.accepted, each.bytes, each.stored, each.people)),
                )
                for each in days
            ],
        )

    with_store(show)
