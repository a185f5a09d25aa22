"""chDB as the engine of a server: every query on a connection of its own, so that nothing leaks into the next one."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chdb import ChdbError
from chdb.state import connect
from chdb.state.sqlitelike import Connection

from services.devstack.clickhouse.errors import ClickHouseError
from services.devstack.clickhouse.query_ids import CARRIER, kill_statement, with_query_ids
from services.devstack.clickhouse.request import Request
from services.devstack.clickhouse.statement import Insert, Statement

_DEFAULT_FORMAT = "TabSeparated"
# Where the engine alone differs from a server: bare expressions as queries, functions that show addresses.
_SERVER_DEFAULTS = {"implicit_select": "0", "allow_introspection_functions": "0"}
# Of the server itself, as in deploy/clickhouse/server.xml: where cores are short, what waits to be stored goes before merges.
_SERVER_SETTINGS = "os_threads_nice_value_merge_mutate=5"
# chdb takes these as orders for itself, not as formats of ClickHouse.
_PYTHON_FORMATS = {"dataframe", "datastore", "arrowtable"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished query. `format` is None for statements that answer nothing; `summary` is ClickHouse's, as JSON."""

    body: bytes
    format: str | None
    summary: str


class ResultStream:
    """A SELECT that is still running; `next_chunk` blocks. To be closed in any case."""

    def __init__(self, result: Any, connection: Connection, format_name: str) -> None:
        self.format = format_name
        self._result = result
        self._connection = connection

    def next_chunk(self) -> bytes | None:
        """Raises ClickHouseError, also in the middle."""
        try:
            chunk = self._result.fetch()
        except (ChdbError, RuntimeError) as error:
            raise ClickHouseError.from_engine(str(error)) from None
        return None if chunk is None else chunk.bytes()

    def close(self) -> None:
        self._connection.close()


class Engine:
    """Open while the object lives and is not closed. Methods block, may run in many threads, raise ClickHouseError."""

    def __init__(self, data_dir: Path) -> None:
        self._path = str(data_dir / "engine")
        self._spool = data_dir / "bodies"
        self._spool.mkdir(parents=True, exist_ok=True)
        for left_behind in self._spool.iterdir():
            left_behind.unlink()
        # The engine stops with its last connection.
        self._open = connect(f"{self._path}?{_SERVER_SETTINGS}")
        version, timezone, host = self._open.query("SELECT version(), timezone(), hostName()", "TSV").bytes().split()
        self.version = version.decode()
        self.timezone = timezone.decode()
        self.host = host.decode()

    def close(self) -> None:
        self._open.close()

    def run(self, request: Request, statement: Statement) -> Answer:
        format_name = _format_of(request, statement)
        with self._session(request) as connection:
            result = connection.query(_text(with_query_ids(statement)), format_name)
            body = result.bytes()
            shown = format_name if statement.answers or body else None
            return Answer(body, shown, _summary(result))

    def insert(self, request: Request, insert: Insert) -> Answer:
        """All rows of the body, or none when they are fewer than a block.

        They go in through a file: the data never meets the SQL text, and, unlike with chDB's own streaming insert,
        an error behind the parsing (a constraint, a full partition, a killed query) is reported.
        """
        format_name = insert.format or request.default_format or "Values"
        with tempfile.NamedTemporaryFile(dir=self._spool) as spooled, self._session(request) as connection:
            spooled.writelines(insert.data)
            spooled.flush()
            source = b" FROM INFILE " + _quote(spooled.name) + b" COMPRESSION 'none' "
            sql = insert.target + source + insert.clauses + b" FORMAT " + format_name.encode()
            return Answer(b"", None, _summary(connection.query(_text(sql), _DEFAULT_FORMAT)))

    def stream(self, request: Request, statement: Statement) -> ResultStream:
        """Only for formats whose blocks may be joined; the first error may come with any chunk."""
        format_name = _format_of(request, statement)
        connection = self._connect(request)
        try:
            return ResultStream(
                connection.send_query(_text(with_query_ids(statement)), format_name), connection, format_name
            )
        except (ChdbError, RuntimeError) as error:
            connection.close()
            raise ClickHouseError.from_engine(str(error)) from None

    def kill_select(self, query_id: str) -> None:
        connection = connect(self._path)
        try:
            connection.query(_text(kill_statement(query_id)), _DEFAULT_FORMAT)
        finally:
            connection.close()

    @contextmanager
    def _session(self, request: Request) -> Iterator[Connection]:
        connection = self._connect(request)
        try:
            yield connection
        except (ChdbError, RuntimeError) as error:
            raise ClickHouseError.from_engine(str(error)) from None
        except UnicodeDecodeError as error:
            # The engine's message quotes the data, and chDB takes every message for UTF-8.
            raise ClickHouseError.from_engine(error.object.decode(errors="replace")) from None
        finally:
            connection.close()

    def _connect(self, request: Request) -> Connection:
        connection = connect(self._path)
        try:
            if request.database:
                connection.query(_text(b"USE " + _quote(request.database, b"`")), _DEFAULT_FORMAT)
            values = {**_SERVER_DEFAULTS, CARRIER: request.query_id, **request.settings, **request.parameters}
            pairs = b", ".join(name.encode() + b" = " + _quote(value) for name, value in values.items())
            connection.query(_text(b"SET " + pairs), _DEFAULT_FORMAT)
        except (ChdbError, RuntimeError) as error:
            connection.close()
            raise ClickHouseError.from_engine(str(error)) from None
        return connection


def _format_of(request: Request, statement: Statement) -> str:
    name = statement.format or request.default_format or _DEFAULT_FORMAT
    if name.lower() in _PYTHON_FORMATS:
        raise ClickHouseError(73, "UNKNOWN_FORMAT", f"Unknown format {name}.")
    return name


def _quote(value: str, mark: bytes = b"'") -> bytes:
    raw = value.encode(errors="surrogateescape").replace(b"\\", b"\\\\").replace(mark, b"\\" + mark)
    return mark + raw.replace(b"\0", b"\\0") + mark


def _text(sql: bytes) -> Any:
    """chdb takes bytes as well as str; its signatures say only str."""
    return sql


def _summary(result: Any) -> str:
    return json.dumps(
        {
            "read_rows": str(result.storage_rows_read()),
            "read_bytes": str(result.storage_bytes_read()),
            "written_rows": str(result.rows_written()),
            "written_bytes": str(result.bytes_written()),
            "total_rows_to_read": "0",
            "result_rows": str(result.rows_read()),
            "result_bytes": str(result.size()),
            "elapsed_ns": str(int(result.elapsed() * 1e9)),
        }
    )
