"""The development server as a process: what survives its end, who gets in, what it may use, and the wheel it is from."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.devstack.child_process import ChildFailedError
from services.devstack.clickhouse_server import ClickHouseProcess
from services.devstack.embedded_engine import TRIED_WITH, installed_version
from services.devstack.file_rules import landlock_version
from services.schema.roles import Role
from tests.support.development_server import Answer, ask, client_of
from tests.support.pipeline import eventually

MIB = 2**20
# The first byte of what the native protocol answers to a login.
_HELLO, _EXCEPTION = 0, 2
CREATE = "CREATE TABLE IF NOT EXISTS t (a UInt32) ENGINE = ReplacingMergeTree ORDER BY a"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    with ClickHouseProcess(tmp_path_factory.mktemp("clickhouse") / "data", memory_bytes=1000 * MIB) as process:
        ask(process, b"CREATE DATABASE headrace")
        yield process


def test_the_version_that_was_tried() -> None:
    assert installed_version() == TRIED_WITH, (
        f"chdb-core {installed_version()} is installed. That it listens, and to whom, is no documented behaviour: "
        f"when the tests of this folder pass with it, set TRIED_WITH in embedded_engine.py (it is {TRIED_WITH})."
    )


# Its end


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    server = ClickHouseProcess(tmp_path / "data")
    for rows in (0, 1000, 2000):
        server.start()
        ask(server, b"CREATE DATABASE IF NOT EXISTS headrace")
        with client_of(server) as client:
            client.command(CREATE)
            assert client.command("SELECT count() FROM t") == rows
            block = b"\n".join(b"%d" % n for n in range(rows, rows + 1000))
            client.raw_insert("t", ["a"], block, fmt="CSV", settings={"async_insert": 0})
        server.kill()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"SELECT sleep(1), 'done'", b"0\tdone\n"),
        (b"SELECT count() FROM numbers_mt(1000000000000) WHERE NOT ignore(sipHash64(number))", b"QUERY_WAS_CANCELLED"),
    ],
)
def test_sigterm_lets_a_running_query_finish_but_not_for_ever(tmp_path: Path, sql: bytes, expected: bytes) -> None:
    server = ClickHouseProcess(tmp_path / "data").start()
    outcome: list[Answer] = []
    thread = threading.Thread(target=lambda: outcome.append(ask(server, sql, {"query_id": "q"})))
    thread.start()
    running = b"SELECT count() FROM system.processes WHERE query_id = 'q'"
    eventually(lambda: ask(server, running)[2], lambda count: count == b"1\n")
    assert server.stop(timeout_s=20) == 0
    thread.join()
    assert expected in outcome[0][2]


def test_its_times_are_utc_wherever_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    with ClickHouseProcess(tmp_path / "data") as server:
        assert ask(server, b"SELECT timezone()")[2] == b"UTC\n"


def test_it_may_be_stopped_before_it_listens(tmp_path: Path) -> None:
    server = ClickHouseProcess(tmp_path / "data")
    server.launch()
    engine = tmp_path / "data" / "engine" / "status"
    eventually(engine.exists, bool)
    assert server.stop() == 0
    assert not server.answers()


# Its start


def test_one_process_a_data_directory_and_a_port(server: ClickHouseProcess, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ClickHouseProcess(data), pytest.raises(ChildFailedError, match="another process uses the data directory"):
        ClickHouseProcess(data).start()
    with pytest.raises(ChildFailedError, match=f"Address already in use: 127.0.0.1:{server.port}"):
        ClickHouseProcess(data, server.port).start()


def test_data_of_the_embedded_engine_open(tmp_path: Path) -> None:
    """So were data folders made before the engine listened by itself."""
    data = tmp_path / "data"
    make = f"""
from services.devstack.embedded_engine import load
engine = load().connect({str(data / "engine")!r} + "?os_threads_nice_value_merge_mutate=5")
for sql in ("CREATE DATABASE headrace", {CREATE.replace(" t ", " headrace.t ")!r}, "INSERT INTO headrace.t VALUES (7)"):
    engine.query(sql, "TabSeparated")
engine.close()
"""
    data.mkdir()
    (data / "bodies").mkdir()
    subprocess.run([sys.executable, "-c", make], check=True, timeout=60)  # noqa: S603
    with ClickHouseProcess(data) as server:
        assert ask(server, b"SELECT a FROM headrace.t")[2] == b"7\n"


def test_its_files_are_its_owners_alone(server: ClickHouseProcess, tmp_path: Path) -> None:
    (old := tmp_path / "old").mkdir(mode=0o755)
    with ClickHouseProcess(old) as later:
        assert later.password(Role.ADMIN) != server.password(Role.ADMIN)
    assert ClickHouseProcess(old).password(Role.ADMIN) == later.password(Role.ADMIN)
    for path in (old, old / "engine", old / "config"):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in (old / "passwords.json", old / "config" / "users.xml", old / "config" / "config.xml"):
        assert path.stat().st_mode & 0o777 == 0o600
    users = (old / "config" / "users.xml").read_text()
    assert not any(later.password(role) in users for role in Role)


def test_statements_that_fail_are_not_logged(server: ClickHouseProcess) -> None:
    for sql in (b"SELECT toUInt8('secret')", b"SELEC 'secret'", b"SELECT * FROM url('http://secret')"):
        assert ask(server, sql)[0] != 200
    assert "secret" not in server.child.log.read_text()


# Who gets in


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT * FROM system.numbers LIMIT 1",
        "SYSTEM STOP LISTEN HTTP",
        "SELECT * FROM file('/etc/passwd')",
    ],
)
@pytest.mark.parametrize("user", [{}, {"user": "default"}, {"user": "default", "password": ""}])
def test_nobody_gets_in_without_a_password(
    server: ClickHouseProcess, method: str, sql: str, user: dict[str, str]
) -> None:
    """As a web page would: it knows the port, and can send what a form or an image can."""
    status, _, body = ask(server, url={"query": sql, **user}, role=None, method=method)
    assert status >= 400
    assert b"USER_SESSION_LIMIT_EXCEEDED" in body or b"AUTHENTICATION_FAILED" in body
    assert server.answers()


@pytest.mark.parametrize(("role", "expected"), [(Role.QUERY, _HELLO), (Role.EDGE, _HELLO), (None, _EXCEPTION)])
def test_the_native_protocol_lets_the_same_users_in(
    server: ClickHouseProcess, role: Role | None, expected: int
) -> None:
    user, password = (role.value, server.password(role)) if role else ("default", "")
    texts = [b"headrace", user.encode(), password.encode()]
    revision = b"\xcf\xa4\x03"  # 53839, as ClickHouse writes numbers: seven bits a byte
    hello = bytes([_HELLO, 4]) + b"test" + b"\x01\x01" + revision + b"".join(bytes([len(t)]) + t for t in texts)
    with socket.create_connection(("127.0.0.1", server.config.tcp_port), timeout=10) as connection:
        connection.sendall(hello)
        assert connection.recv(1) == bytes([expected])


# What it may use


def test_all_queries_together_have_one_limit(server: ClickHouseProcess) -> None:
    sql = b"SELECT length(groupArray(repeat('x', 1000))) FROM numbers(2000000)"
    status, _, body = ask(server, sql, role=Role.ADMIN)
    assert (status, b"MEMORY_LIMIT_EXCEEDED" in body) == (500, True)
    assert b"(total) memory limit exceeded" in body
    assert ask(server, b"SELECT 1")[0] == 200


def test_all_questions_together_have_less(server: ClickHouseProcess) -> None:
    """So that they fail before an insert does."""
    sql = b"SELECT length(groupArray(repeat('x', 1000))) FROM numbers(2000000)"
    status, _, body = ask(server, sql, role=Role.QUERY)
    assert (status, b"MEMORY_LIMIT_EXCEEDED" in body) == (500, True)
    assert b"User memory limit exceeded" in body


def test_merges_come_after_what_waits_to_be_stored(server: ClickHouseProcess) -> None:
    settings = ask(server, b"SELECT name, value FROM system.server_settings WHERE changed")[2]
    assert b"os_threads_nice_value_merge_mutate\t5\n" in settings


# What it may read


@pytest.mark.skipif(landlock_version() < 2, reason="the kernel keeps no rules about files: see the test after this one")
@pytest.mark.parametrize("role", Role)
def test_files_of_others_are_out_of_its_reach(tmp_path: Path, server: ClickHouseProcess, role: Role) -> None:
    """ClickHouse's own rights know nothing of the function `file`, and its local mode lets it read everything."""
    mine = tmp_path / "mine"
    mine.write_text("of this user")
    passwords = Path(read(server, "/proc/self/cmdline", Role.ADMIN)[1].split("\\0")[3]) / "passwords.json"
    assert passwords.exists()
    # Its own processors and memory it may look at; of itself there is nothing secret to see.
    assert read(server, "/proc/meminfo", role)[0] == 200
    status, environment = read(server, "/proc/self/environ", role)
    assert (status, "PASSWORD" in environment, "KEY" in environment) == (200, False, False)
    for file in (
        mine,
        passwords,
        "/etc/passwd",
        "/etc/hostname",
        "/proc/self/root/etc/passwd",
        f"/proc/{os.getpid()}/environ",
        f"/proc/{os.getpid()}/cwd/pyproject.toml",
        f"/proc/{os.getppid()}/environ",
        "/proc/1/environ",
        Path.cwd() / "pyproject.toml",
        f"../../../../../../..{mine}",
    ):
        status, answer = read(server, file, role)
        assert status != 200, file
        assert "Permission denied" in answer or "FILE_DOESNT_EXIST" in answer, answer


def read(server: ClickHouseProcess, file: str | Path, role: Role) -> tuple[int, str]:
    status, _, body = ask(server, f"SELECT file('{file}')".encode(), role=role)
    return status, body.decode()


def test_where_the_kernel_keeps_no_rules_it_is_said(tmp_path: Path) -> None:
    code = (
        "import sys; from services.devstack import file_rules; file_rules.landlock_version = lambda: 1\n"
        "from services.devstack.embedded_engine import main; sys.exit(main(sys.argv[1:]))"
    )
    server = ClickHouseProcess(tmp_path / "data")
    server.child._command[1:3] = ["-c", code]
    with server:
        assert read(server, "/etc/hostname", Role.EDGE)[0] == 200
    assert "can read this user's files with the function `file`" in (tmp_path / "data" / "server.log").read_text()
