"""Plain ways to ask the development server, as one of its users."""

import http.client
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from services.devstack.clickhouse_server import ClickHouseProcess
from services.schema.roles import Role

Answer = tuple[int, dict[str, str], bytes]


def client_of(server: ClickHouseProcess, role: Role = Role.ADMIN, **options: Any) -> Client:
    return clickhouse_connect.get_client(
        host="127.0.0.1",
        port=server.port,
        username=role.value,
        password=server.password(role),
        database="headrace",
        autogenerate_session_id=False,
        **options,
    )


def count_running(client: Client, query_id: str) -> object:
    return client.command("SELECT count() FROM system.processes WHERE query_id = {id:String}", {"id": query_id})


def ask(
    server: ClickHouseProcess,
    body: bytes = b"",
    url: Mapping[str, str] | None = None,
    role: Role | None = Role.ADMIN,
    method: str = "POST",
) -> Answer:
    """Status, headers in lower case, body. Without a role, nobody's password is sent."""
    headers = {} if role is None else {"X-ClickHouse-User": role.value, "X-ClickHouse-Key": server.password(role)}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, "/?" + urlencode(url or {}), body, headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()
