"""`headrace projects`: limits of single projects."""

from typing import Annotated

import typer
from msgspec.structs import replace

from services.cli.output import say, say_table
from services.cli.store import with_store
from services.runtime.clickhouse import ClickHouse
from services.runtime.keys import NoProjectError, is_project, list_keys
from services.runtime.operator_errors import OperatorError, print_error
from services.runtime.project_limits import ProjectLimits, read_limits, write_limits
from services.runtime.settings import LEAST_RETENTION_DAYS, MOST_RETENTION_DAYS, ClickHouseSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Limits of single projects: events a day, and days that events are kept.",
    epilog="Settings: `HEADRACE_CLICKHOUSE_*`. Of other projects HEADRACE_EDGE_QUOTA_EVENTS_DAY and "
    "HEADRACE_EVENTS_RETENTION_DAYS count.",
)
_MOST_EVENTS = 10**15


@app.command("list")
def show_all() -> None:
    """List the projects that have limits of their own."""

    async def show(store: ClickHouse, settings: ClickHouseSettings) -> None:
        rows = [
            (project, _shown(limits.events_day), _shown(limits.retention_days))
            for project, limits in sorted((await read_limits(store)).items())
        ]
        say_table(("project", "events a day", "days kept"), rows)

    with_store(show)


@app.command("set")
def set_limits(
    project: Annotated[str, typer.Argument(help="As its keys name it.")],
    events_day: Annotated[
        str, typer.Option(help="Events that it may send on one day (UTC): a number, `none`, or `default`.")
    ] = "",
    retention_days: Annotated[
        str, typer.Option(help="Days after which its events end: a number from 8 on, `none`, or `default`.")
    ] = "",
) -> None:
    """Set limits of a project. `default`: the services' setting counts. What is not given stays as it is.

    Edges and query services go by it within a minute. What has expired once does not come back.
    """
    if not is_project(project):
        raise NoProjectError("a project's name has 1 to 200 printable characters, and no blank at its ends")
    if not events_day and not retention_days:
        raise OperatorError("say what to set: --events-day or --retention-days")
    changed: dict[str, int | None] = {}
    if events_day:
        changed["events_day"] = _read("--events-day", events_day, 1, _MOST_EVENTS)
    if retention_days:
        least, most = LEAST_RETENTION_DAYS, MOST_RETENTION_DAYS
        changed["retention_days"] = _read("--retention-days", retention_days, least, most)

    async def write(store: ClickHouse, settings: ClickHouseSettings) -> None:
        limits = replace((await read_limits(store)).get(project, ProjectLimits()), **changed)
        await write_limits(store, project, limits)
        if project not in {key.project_id for key in await list_keys(store)}:
            print_error(f"warning: no key belongs to a project `{project}`: is its name right?")
        say(f"{project}: events a day {_shown(limits.events_day)}, days kept {_shown(limits.retention_days)}")

    with_store(write)


def _read(option: str, text: str, least: int, most: int) -> int | None:
    if text == "default":
        return None
    if text == "none":
        return 0
    if text.isascii() and text.isdecimal() and least <= int(text) <= most:
        return int(text)
    raise OperatorError(f"{option}: write `default`, `none`, or a whole number from {least:,} to {most:,}")


def _shown(limit: int | None) -> str:
    return {None: "default", 0: "none"}.get(limit) or f"{limit:,}"
