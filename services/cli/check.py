"""`headrace check`: whether Kafka and ClickHouse are as the services need them."""

import asyncio
import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.output import say, say_table
from services.cli.store import tool_settings
from services.runtime.environment import read_settings
from services.runtime.settings import EdgeSettings, QuerySettings, WorkerSettings

if TYPE_CHECKING:
    from services.operations.check import Row

app = typer.Typer()


class Service(StrEnum):
    """Whose log-ins are in the environment. `admin`: those of migrations and of the commands of `headrace`."""

    EDGE = "edge"
    WORKER = "worker"
    QUERY = "query"
    ADMIN = "admin"


@app.command(rich_help_panel="Operation")
def check(
    service: Annotated[
        list[Service] | None,
        typer.Argument(help="Connect as these would, with the settings that are there; default: edge, worker, query."),
    ] = None,
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="Write no record to the dead-letter topic: Kafka's clock then stays unknown."),
    ] = False,
) -> None:
    """Connect as each service would, and print what answers, versions, topics, rights, tables and clocks.

    Ends with status 1 if something is wrong. Settings: `HEADRACE_KAFKA_*`, `HEADRACE_CLICKHOUSE_*`.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it says what its errors say once more
    services = service or [Service.EDGE, Service.WORKER, Service.QUERY]
    rows = asyncio.run(_look(services, write=not read_only))
    say_table(("as", "what", "is", "says"), [(row.service, row.what, row.state, row.says) for row in rows])
    mends = dict.fromkeys(line for row in rows for line in row.mend.splitlines())
    if len(services) > 1 and any(row.mend and row.what.startswith("rights") for row in rows):
        say(
            f"All were looked at with the same log-ins. Where each has its own, run `headrace check {services[0]}` with the "
            "settings of that service, and so on: else what follows gives one user the rights of all."
        )
    if mends:
        say("To mend:")
        for line in mends:
            say(line)
    if any(row.state == "wrong" for row in rows):
        raise SystemExit(1)


async def _look(services: list[Service], *, write: bool) -> "list[Row]":
    from services.operations.check import check_clickhouse, check_kafka
    from services.runtime.kafka_rights import Client
    from services.schema.roles import Role

    edge, worker, query = tool_settings(EdgeSettings), read_settings(WorkerSettings), read_settings(QuerySettings)
    clients = {
        Service.EDGE: (Client.EDGE, edge),
        Service.WORKER: (Client.WORKER, worker),
        Service.QUERY: (Client.QUERY, query),
        Service.ADMIN: (Client.TOOLS, edge),
    }
    rows = []
    for service in services:
        client, kafka = clients[service]
        rows += [row async for row in check_kafka(service, kafka, client, worker.group, write=write)]
        rows += [row async for row in check_clickhouse(service, query, Role(service.value))]
    return rows
