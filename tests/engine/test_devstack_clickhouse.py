"""The development server: what of ClickHouse the services rely on, asked with the driver and with plain HTTP."""

import asyncio
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, StreamFailureError

from services.devstack.clickhouse_server import ClickHouseProcess
from services.schema.roles import Role
from tests.support.development_server import ask, client_of, count_running
from tests.support.pipeline import eventually

# Longer than any test may take: the query that is to be killed must not end by itself.
ENDLESS = "SELECT count() FROM numbers_mt(1000000000000) WHERE NOT ignore(sipHash64(number))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    with ClickHouseProcess(tmp_path_factory.mktemp("clickhouse")) as process:
        ask(process, b"CREATE DATABASE headrace")
        yield process


@pytest.fixture
def client(server: ClickHouseProcess) -> Iterator[Client]:
    with client_of(server) as client:
        yield client


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex}"
    client.command(
        f"CREATE TABLE {name} (a UInt32, b String, CONSTRAINT small CHECK a < 1000) ENGINE = ReplacingMergeTree "
        "ORDER BY a PARTITION BY a SETTINGS non_replicated_deduplication_window = 100"
    )
    yield name
    client.command(f"DROP TABLE {name}")


def in_background(server: ClickHouseProcess, sql: bytes, url: dict[str, str]) -> tuple[threading.Thread, list[Any]]:
    """The thread is started; the answer is in the list when it has ended."""
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(ask(server, sql, url)))
    thread.start()
    return thread, outcome


# What goes in comes out, once, or not at all


@pytest.mark.parametrize(
    "value", ["", "'; DROP TABLE x; --", "tab\tnew\nline\\n \\", "\0 ü \U0001f600", "{x:String}", "%41&b=c"]
)
def test_parameters_are_values(client: Client, value: str) -> None:
    assert client.query("SELECT {x:String} AS x", parameters={"x": value}).result_rows == [(value,)]
    listed = client.query("SELECT {x:Array(String)} AS x", parameters={"x": [value, value]}).result_rows
    assert listed == [([value, value],)]


@pytest.mark.parametrize(
    ("fmt", "block"),
    [
        ("RowBinary", struct.pack("<IB7s", 5, 7, b"\0';--\n\xff")),
        ("JSONEachRow", b'{"a":5,"b":"\\u0000\';--\\n"}\n\n{"a":6,"b":"; DROP TABLE t"}\n'),
    ],
)
def test_raw_inserts_are_data_and_nothing_else(client: Client, table: str, fmt: str, block: bytes) -> None:
    rows = client.raw_insert(table, ["a", "b"], block, fmt=fmt, settings={"async_insert": 0}).written_rows
    assert rows == client.command(f"SELECT count() FROM {table}") == (2 if fmt == "JSONEachRow" else 1)
    kept = client.raw_query(f"SELECT hex(b) FROM {table} WHERE a = 5").decode().strip()
    assert kept == {"RowBinary": b"\0';--\n\xff", "JSONEachRow": b"\0';--\n"}[fmt].hex().upper()


def test_a_repeated_insert_under_one_token_is_stored_once(client: Client, table: str) -> None:
    for line in (b"1,x", b"1,x", b"1,other"):  # the token alone decides, within a partition
        insert(client, table, line, insert_deduplication_token="block-1")
    assert client.query(f"SELECT b FROM {table}").result_rows == [("x",)]
    insert(client, table, b"1,x", insert_deduplication_token="block-2")
    assert client.command(f"SELECT count() FROM {table}") == 2


def insert(client: Client, table: str, block: bytes, fmt: str = "CSV", **settings: Any) -> None:
    client.raw_insert(table, None, block, fmt=fmt, settings={"async_insert": 0, **settings})


@pytest.mark.parametrize(
    ("fmt", "block", "code"),
    [
        ("JSONEachRow", b'{"a":1}\n{"a":2,,}\n', 26),
        ("JSONEachRow", b'{"a":1}\n{"a":"x"}\n', 27),
        ("RowBinary", struct.pack("<IB1s", 1, 1, b"x") + b"\0", 33),
        ("CSV", b"1,x\n5000,x\n", 469),  # the constraint
        ("CSV", b"\n".join(b"%d,x" % n for n in range(200)), 252),  # more partitions than a block may have
    ],
)
def test_a_refused_insert_leaves_nothing(client: Client, table: str, fmt: str, block: bytes, code: int) -> None:
    with pytest.raises(ClickHouseError) as error:
        insert(client, table, block, fmt)
    assert error.value.code == code  # type: ignore[attr-defined]
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_half_a_body_inserts_nothing(server: ClickHouseProcess, client: Client, table: str) -> None:
    url = urlencode({"query": f"INSERT INTO {table} (a) FORMAT CSV", "database": "headrace", "async_insert": "0"})
    user = {"user": Role.ADMIN.value, "password": server.password(Role.ADMIN)}
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(
            f"POST /?{url}&{urlencode(user)} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n1\n2\n3\n".encode()
        )
    insert(client, table, b"7,x\n")
    assert client.query(f"SELECT a FROM {table}").result_rows == [(7,)]


# Errors, limits, and an end to what takes too long


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM headrace.nowhere", 60),
        ("SELECT nothing", 47),
        ("SELEC 1", 62),
        ("SELECT 1; SELECT 2", 62),
        ("1", 62),
        ("SELECT toUInt8('x')", 6),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.3", 159),
        ("SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 10000000", 241),
    ],
)
def test_errors_have_their_codes(server: ClickHouseProcess, sql: str, code: int) -> None:
    status, headers, body = ask(server, sql.encode(), {"wait_end_of_query": "1"})
    assert status != 200
    assert headers["x-clickhouse-exception-code"] == str(code)
    assert body.startswith(b"Code: %d. DB::Exception: " % code)


def test_an_error_in_the_middle_of_a_long_answer(client: Client) -> None:
    rows: list[object] = []
    stream = client.query_rows_stream("SELECT number, throwIf(number = 900000) FROM numbers(1000000)")
    with stream, pytest.raises(StreamFailureError, match="throwIf"):
        rows.extend(stream)
    assert len(rows) > 100_000


def test_a_slow_query_holds_nobody_up_and_can_be_killed(server: ClickHouseProcess, client: Client) -> None:
    thread, outcome = in_background(server, ENDLESS.encode(), {"query_id": "slow-1"})
    try:
        eventually(lambda: count_running(client, "slow-1"), lambda count: count == 1)
        began = time.monotonic()
        assert client.command("SELECT 1") == 1
        assert time.monotonic() - began < 10
        assert ask(server, b"SELECT 1", {"query_id": "slow-1"})[1]["x-clickhouse-exception-code"] == "216"
    finally:
        client.command("KILL QUERY WHERE query_id = {id:String} SYNC", {"id": "slow-1"})
        thread.join()
    assert outcome[0][1]["x-clickhouse-exception-code"] == "394"


def test_a_killed_insert_is_not_acknowledged(server: ClickHouseProcess, client: Client) -> None:
    name = f"t_{uuid.uuid4().hex}"
    client.command(
        f"CREATE TABLE {name} (a UInt32, slow UInt8 MATERIALIZED sleepEachRow(0.01)) ENGINE = ReplacingMergeTree ORDER BY a"
    )
    url = {
        "query": f"INSERT INTO {name} (a) FORMAT CSV",
        "query_id": "insert-1",
        "database": "headrace",
        "async_insert": "0",
        "function_sleep_max_microseconds_per_block": "1000000000",
    }
    thread, outcome = in_background(server, b"\n".join(b"%d" % n for n in range(2000)), url)
    eventually(lambda: count_running(client, "insert-1"), lambda count: count == 1)
    client.command("KILL QUERY WHERE query_id = 'insert-1' SYNC")
    thread.join()
    assert outcome[0][1]["x-clickhouse-exception-code"] == "394"
    assert client.command(f"SELECT count() FROM {name}") == 0
    client.command(f"DROP TABLE {name}")


def test_a_select_ends_with_its_client(server: ClickHouseProcess, client: Client) -> None:
    user = {"user": Role.QUERY.value, "password": server.password(Role.QUERY)}
    url = urlencode(
        {"query_id": "left-1", "cancel_http_readonly_queries_on_client_close": "1", "readonly": "2", **user}
    )
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(
            b"POST /?%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            % (url.encode(), len(ENDLESS), ENDLESS.encode())
        )
        eventually(lambda: count_running(client, "left-1"), lambda count: count == 1)
    eventually(lambda: count_running(client, "left-1"), lambda count: count == 0)


async def test_the_asynchronous_client(server: ClickHouseProcess) -> None:
    client = await clickhouse_connect.get_async_client(
        host="127.0.0.1", port=server.port, username=Role.EDGE.value, password=server.password(Role.EDGE)
    )
    try:
        answers = await asyncio.gather(*[client.query(f"SELECT {n}, 'x'") for n in range(20)])
        assert [a.result_rows for a in answers] == [[(n, "x")] for n in range(20)]
    finally:
        await client.close()
