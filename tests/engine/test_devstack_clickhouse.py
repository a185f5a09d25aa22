"""The development database, asked as clients ask ClickHouse: with the driver, and with plain HTTP."""

import asyncio
import gzip
import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, StreamFailureError

from services.devstack.clickhouse_server import ClickHouseProcess
from tests.support.pipeline import eventually

# Longer than any test may take: the query that is to be killed must not end by itself.
ENDLESS = "SELECT count() FROM numbers_mt(1000000000000) WHERE NOT ignore(sipHash64(number))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    with ClickHouseProcess(tmp_path_factory.mktemp("clickhouse")) as process:
        yield process


@pytest.fixture
def client(server: ClickHouseProcess) -> Iterator[Client]:
    with connected(server) as client:
        yield client


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex}"
    client.command(
        f"CREATE TABLE {name} (a UInt32, b String, CONSTRAINT small CHECK a < 1000) ENGINE = MergeTree ORDER BY a "
        "PARTITION BY a SETTINGS non_replicated_deduplication_window = 100"
    )
    yield name
    client.command(f"DROP TABLE {name}")


def connected(server: ClickHouseProcess, **options: Any) -> Client:
    return clickhouse_connect.get_client(host="127.0.0.1", port=server.port, autogenerate_session_id=False, **options)


def count_running(client: Client, query_id: str) -> object:
    return client.command("SELECT count() FROM system.processes WHERE query_id = {id:String}", {"id": query_id})


def ask(
    server: ClickHouseProcess,
    body: bytes = b"",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    **url: str,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, "/?" + urlencode(url), body, headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


# What goes in comes out


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_values_of_all_kinds_come_back(server: ClickHouseProcess, compress: bool | str) -> None:
    name = f"t_{uuid.uuid4().hex}"
    row = [
        "x';--\0\n\\ü",
        None,
        "low",
        [1, 2],
        {"k": "v"},
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        uuid.UUID(int=7),
        Decimal("1.25"),
        (1, "b"),
        True,
        2**63,
    ]
    with connected(server, compress=compress, tz_mode="aware") as client:
        client.command(
            f"CREATE TABLE {name} (s String, n Nullable(String), l LowCardinality(String), a Array(UInt8), "
            "m Map(String, String), t DateTime64(6, 'UTC'), u UUID, d Decimal(9, 2), p Tuple(UInt8, String), "
            "b Bool, i UInt64) ENGINE = Memory"
        )
        summary = client.insert(name, [row] * 3)
        assert summary.written_rows == 3
        assert [list(r) for r in client.query(f"SELECT * FROM {name}").result_rows] == [row] * 3
        client.command(f"DROP TABLE {name}")


@pytest.mark.parametrize(
    "value", ["", "'; DROP TABLE x; --", "tab\tnew\nline\\n \\", "\0 ü \U0001f600", "{x:String}", "%41&b=c"]
)
def test_parameters_are_values(client: Client, value: str) -> None:
    assert client.query("SELECT {x:String} AS x", parameters={"x": value}).result_rows == [(value,)]
    listed = client.query("SELECT {x:Array(String)} AS x", parameters={"x": [value, value]}).result_rows
    assert listed == [([value, value],)]


def test_parameters_too_long_for_a_url(client: Client) -> None:
    value = "'\n\0ü" * 20_000
    assert client.query("SELECT {x:String}", parameters={"x": value}).result_rows == [(value,)]


def test_insert_values_with_parameters(client: Client, table: str) -> None:
    client.command(
        f"INSERT INTO {table} (a, b) VALUES ({{a:UInt32}}, {{b:String}}), (1 + 1, 'x;')", {"a": 1, "b": "');"}
    )
    assert client.query(f"SELECT * FROM {table} ORDER BY a").result_rows == [(1, "');"), (2, "x;")]


@pytest.mark.parametrize(
    ("fmt", "block"),
    [
        ("RowBinary", struct.pack("<IB7s", 5, 7, b"\0';--\n\xff")),
        ("JSONEachRow", b'{"a":5,"b":"\\u0000\';--\\n"}\n\n{"a":6,"b":"; DROP TABLE t"}\n'),
        ("CSV", b'5,"x;\n"\n'),
    ],
)
def test_raw_inserts_are_data_and_nothing_else(client: Client, table: str, fmt: str, block: bytes) -> None:
    rows = client.raw_insert(table, ["a", "b"], block, fmt=fmt).written_rows
    assert rows == client.command(f"SELECT count() FROM {table}") == (2 if fmt == "JSONEachRow" else 1)
    kept = client.raw_query(f"SELECT hex(b) FROM {table} WHERE a = 5").decode().strip()
    assert kept == {"RowBinary": b"\0';--\n\xff", "JSONEachRow": b"\0';--\n", "CSV": b"x;\n"}[fmt].hex().upper()


def test_a_body_in_pieces(client: Client, table: str) -> None:
    pieces = (b'{"a":%d,"b":"x"}\n' % n for n in range(50))
    assert client.raw_insert(table, ["a", "b"], pieces, fmt="JSONEachRow").written_rows == 50


Codec = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("encoding", "compress", "decompress"),
    [
        ("gzip", gzip.compress, gzip.decompress),
        ("deflate", zlib.compress, zlib.decompress),
        ("zstd", zstandard.compress, lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        ("lz4", lz4.frame.compress, lz4.frame.decompress),
    ],
)
def test_bodies_and_answers_are_compressed(
    server: ClickHouseProcess, table: str, encoding: str, compress: Codec, decompress: Codec
) -> None:
    insert = compress(f"INSERT INTO {table} FORMAT CSV\n1,x\n".encode())
    assert ask(server, insert, headers={"Content-Encoding": encoding})[0] == 200
    select = f"SELECT * FROM {table}".encode()
    for wait in ("0", "1"):
        status, headers, body = ask(
            server, select, headers={"Accept-Encoding": encoding}, enable_http_compression="1", wait_end_of_query=wait
        )
        assert (status, headers["content-encoding"], decompress(body)) == (200, encoding, b"1\tx\n")
    assert ask(server, select, headers={"Accept-Encoding": encoding})[2] == b"1\tx\n"


def test_a_repeated_insert_under_one_token_is_stored_once(client: Client, table: str) -> None:
    for line in (b"1,x", b"1,x", b"1,other"):  # the token alone decides, within a partition
        client.raw_insert(table, None, line, fmt="CSV", settings={"insert_deduplication_token": "block-1"})
    assert client.query(f"SELECT b FROM {table}").result_rows == [("x",)]
    client.raw_insert(table, None, b"1,x", fmt="CSV", settings={"insert_deduplication_token": "block-2"})
    assert client.command(f"SELECT count() FROM {table}") == 2


# Answers as ClickHouse gives them


def test_headers_of_an_answer(server: ClickHouseProcess) -> None:
    status, headers, body = ask(server, b"SELECT number FROM numbers(3)", query_id="q-1", wait_end_of_query="1")
    assert (status, body) == (200, b"0\n1\n2\n")
    assert headers["x-clickhouse-query-id"] == "q-1"
    assert headers["x-clickhouse-format"] == "TabSeparated"
    assert {"x-clickhouse-timezone", "x-clickhouse-server-display-name"} <= headers.keys()
    assert json.loads(headers["x-clickhouse-summary"])["read_rows"] == "3"


def test_query_of_the_url_and_body_belong_together(server: ClickHouseProcess, table: str) -> None:
    assert ask(server, b"1,x\n", query=f"INSERT INTO {table} FORMAT CSV")[0] == 200
    assert ask(server, method="GET", query=f"SELECT * FROM {table}", default_format="CSV")[2] == b'1,"x"\n'
    assert (
        ask(server, method="GET", query=f"INSERT INTO {table} VALUES (1, 'x')")[1]["x-clickhouse-exception-code"]
        == "164"
    )


def test_health_and_unknown_paths(server: ClickHouseProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    for path, status in (("/ping", 200), ("/replicas_status", 200), ("/play", 404)):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == status
        assert (answer.read() == b"Ok.\n") == (status == 200)
    connection.close()


def test_web_pages_are_not_served(server: ClickHouseProcess) -> None:
    assert ask(server, b"SELECT 1", headers={"Origin": "http://example.org"})[0] == 403


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT * FROM nowhere", 60, 404),
        ("SELECT nothing", 47, 404),
        ("SELECT 1 FORMAT Nope", 73, 404),
        ("SELEC 1", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT throwIf(number = 3) FROM numbers(5)", 395, 500),
        ("SELECT toUInt8('x')", 6, 400),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.3", 159, 408),
        ("SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 10000000", 241, 500),
    ],
)
def test_errors(server: ClickHouseProcess, sql: str, code: int, status: int) -> None:
    for wait in ("0", "1"):
        got, headers, body = ask(server, sql.encode(), wait_end_of_query=wait)
        assert (got, headers["x-clickhouse-exception-code"]) == (status, str(code))
        assert body.startswith(b"Code: %d. DB::Exception: " % code)


@pytest.mark.parametrize(
    ("fmt", "block", "code"),
    [
        ("JSONEachRow", b'{"a":1}\n{"a":2,,}\n', 26),
        ("JSONEachRow", b'{"a":1}\n{"a":"x"}\n', 27),
        ("RowBinary", struct.pack("<IB1s", 1, 1, b"x") + b"\0", 33),
        ("CSV", b"1\n5000\n", 469),  # the constraint
        ("CSV", b"\n".join(b"%d" % n for n in range(200)), 252),  # more partitions than a block may have
    ],
)
def test_a_refused_insert_leaves_nothing(client: Client, table: str, fmt: str, block: bytes, code: int) -> None:
    with pytest.raises(ClickHouseError) as error:
        client.raw_insert(table, None if fmt == "RowBinary" else ["a"], block, fmt=fmt)
    assert error.value.code == code  # type: ignore[attr-defined]
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_settings_are_for_one_query_only(server: ClickHouseProcess) -> None:
    sql = b"SELECT getSetting('max_threads'), getSetting('log_comment')"
    before = ask(server, sql)[2]
    assert ask(server, sql, max_threads="1", log_comment="it's \\ \0")[2] == b"1\tit\\'s \\\\ \\0\n"
    assert ask(server, sql)[2] == before
    assert ask(server, sql, no_such_setting="1")[1]["x-clickhouse-exception-code"] == "115"
    assert ask(server, sql, database="nowhere")[1]["x-clickhouse-exception-code"] == "81"
    assert ask(server, b"SELECT currentDatabase()", database="system")[2] == b"system\n"


def test_input_settings(client: Client, table: str) -> None:
    line = b'{"a":1,"unknown":2}'
    client.raw_insert(table, None, line, fmt="JSONEachRow", settings={"input_format_skip_unknown_fields": 1})
    with pytest.raises(ClickHouseError, match="Unknown field"):
        client.raw_insert(table, None, line, fmt="JSONEachRow", settings={"input_format_skip_unknown_fields": 0})


# Long answers, many at once, and an end to them


def test_a_long_answer_comes_in_pieces(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(1000000)") as stream:
        sizes = [len(block) for block in stream]
    assert sum(sizes) == 1_000_000
    assert len(sizes) > 5


def test_an_error_in_the_middle_of_a_long_answer(client: Client) -> None:
    rows: list[object] = []
    stream = client.query_rows_stream("SELECT number, throwIf(number = 900000) FROM numbers(1000000)")
    with stream, pytest.raises(StreamFailureError, match="throwIf"):
        rows.extend(stream)
    assert len(rows) > 100_000


def test_a_slow_query_holds_nobody_up_and_can_be_killed(server: ClickHouseProcess, client: Client) -> None:
    outcome: list[tuple[int, dict[str, str], bytes]] = []
    thread = threading.Thread(target=lambda: outcome.append(ask(server, ENDLESS.encode(), query_id="slow-1")))
    thread.start()
    try:
        eventually(lambda: count_running(client, "slow-1"), lambda count: count == 1)
        began = time.monotonic()
        assert client.command("SELECT 1") == 1
        assert time.monotonic() - began < 10
        assert ask(server, b"SELECT 1", query_id="slow-1")[1]["x-clickhouse-exception-code"] == "216"
    finally:
        client.command("KILL QUERY WHERE query_id = {id:String} SYNC", {"id": "slow-1"})
        thread.join()
    assert outcome[0][1]["x-clickhouse-exception-code"] == "394"


def test_a_killed_insert_is_not_acknowledged(server: ClickHouseProcess, client: Client) -> None:
    name = f"t_{uuid.uuid4().hex}"
    client.command(
        f"CREATE TABLE {name} (a UInt32, slow UInt8 MATERIALIZED sleepEachRow(0.01)) ENGINE = MergeTree ORDER BY a"
    )
    outcome: list[tuple[int, dict[str, str], bytes]] = []

    def insert() -> None:
        lines = b"\n".join(b"%d" % n for n in range(2000))
        outcome.append(
            ask(
                server,
                lines,
                query=f"INSERT INTO {name} (a) FORMAT CSV",
                query_id="insert-1",
                function_sleep_max_microseconds_per_block="1000000000",
            )
        )

    thread = threading.Thread(target=insert)
    thread.start()
    eventually(lambda: count_running(client, "insert-1"), lambda count: count == 1)
    client.command("KILL QUERY WHERE query_id = 'insert-1' SYNC")
    thread.join()
    assert outcome[0][1]["x-clickhouse-exception-code"] == "394"
    assert client.command(f"SELECT count() FROM {name}") == 0
    client.command(f"DROP TABLE {name}")


def test_a_select_ends_with_its_client(server: ClickHouseProcess, client: Client) -> None:
    url = urlencode({"query_id": "left-1", "cancel_http_readonly_queries_on_client_close": "1"})
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(
            b"POST /?%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            % (url.encode(), len(ENDLESS), ENDLESS.encode())
        )
        eventually(lambda: count_running(client, "left-1"), lambda count: count == 1)
    eventually(lambda: count_running(client, "left-1"), lambda count: count == 0)


def test_half_a_body_inserts_nothing(server: ClickHouseProcess, client: Client, table: str) -> None:
    head = f"INSERT INTO {table} (a) FORMAT CSV\n".encode()
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + head + b"1\n2\n3\n")
    client.raw_insert(table, ["a"], b"7\n", fmt="CSV")
    assert client.query(f"SELECT a FROM {table}").result_rows == [(7,)]


async def test_the_asynchronous_client(server: ClickHouseProcess) -> None:
    client = await clickhouse_connect.get_async_client(host="127.0.0.1", port=server.port)
    try:
        answers = await asyncio.gather(*[client.query(f"SELECT {n}, 'x'") for n in range(20)])
        assert [a.result_rows for a in answers] == [[(n, "x")] for n in range(20)]
        summary = await client.raw_insert("FUNCTION null('a UInt8')", None, b'{"a":1}', fmt="JSONEachRow")
        assert summary.written_rows == 1
    finally:
        await client.close()


# The process


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    for rows in (0, 1000, 2000):
        server = ClickHouseProcess(tmp_path / "data").start()
        with connected(server) as client:
            client.command("CREATE TABLE IF NOT EXISTS t (a UInt32) ENGINE = MergeTree ORDER BY a")
            assert client.command("SELECT count() FROM t") == rows
            client.raw_insert("t", ["a"], b"\n".join(b"%d" % n for n in range(1000)), fmt="CSV")
        server.kill()


def test_sigterm_lets_a_running_query_finish(tmp_path: Path) -> None:
    server = ClickHouseProcess(tmp_path / "data").start()
    outcome: list[tuple[int, dict[str, str], bytes]] = []
    thread = threading.Thread(target=lambda: outcome.append(ask(server, b"SELECT sleep(1), 'done'", query_id="q")))
    thread.start()
    running = b"SELECT count() FROM system.processes WHERE query_id = 'q'"
    eventually(lambda: ask(server, running)[2], lambda count: count == b"1\n")
    assert server.stop() == 0
    thread.join()
    assert outcome[0][2] == b"0\tdone\n"


def test_one_process_a_data_directory(server: ClickHouseProcess, tmp_path: Path) -> None:
    with ClickHouseProcess(tmp_path / "data") as first:
        second = _start_in_foreground("--data", str(tmp_path / "data"), "--port", "0")
        assert second.returncode == 1
        assert "another process uses the data directory" in second.stderr
        third = _start_in_foreground("--data", str(tmp_path / "other"), "--port", str(first.port))
        assert third.returncode == 1
        assert f"cannot listen on 127.0.0.1:{first.port}" in third.stderr


def _start_in_foreground(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.devstack.clickhouse_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
