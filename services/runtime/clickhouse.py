"""The only place that imports the ClickHouse driver: connect, ask, insert, and tell failures apart.

Values travel as server-side parameters (`{name:Type}` in the SQL); no caller puts user text into SQL.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.external import ExternalData
from msgspec import Struct

from services.runtime.cluster import cluster_settings
from services.runtime.long_parameters import in_short_fields
from services.runtime.operator_errors import OperatorError
from services.runtime.settings import ClickHouseSettings
from services.runtime.tls import causes, tls_advice

Version = tuple[int, ...]  # of ClickHouse, as far as it matters
Parameters = Mapping[str, Any]
Settings = Mapping[str, Any]


class SentTable(Struct, frozen=True):
    """A table that goes with one statement, to the servers that it asks as well. `rows` are RowBinary."""

    name: str
    structure: str
    rows: bytes


# Numeric codes of ClickHouse's ErrorCodes.cpp.
_MEMORY_LIMIT_EXCEEDED = 241
_LIMIT_CODES = {
    158,  # TOO_MANY_ROWS
    159,  # TIMEOUT_EXCEEDED
    160,  # TOO_SLOW
    191,  # SET_SIZE_LIMIT_EXCEEDED
    _MEMORY_LIMIT_EXCEEDED,
    307,  # TOO_MANY_BYTES
    396,  # TOO_MANY_ROWS_OR_BYTES
}
_UNKNOWN_IDENTIFIER = 47
# A server that was asked by another one did not answer in time.
_SOCKET_TIMEOUT = 209
_BAD_DATA_CODES = {
    6,  # CANNOT_PARSE_TEXT
    25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
    26,  # CANNOT_PARSE_QUOTED_STRING
    27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
    33,  # CANNOT_READ_ALL_DATA
    38,  # CANNOT_PARSE_DATE
    41,  # CANNOT_PARSE_DATETIME
    53,  # TYPE_MISMATCH
    69,  # ARGUMENT_OUT_OF_BOUND
    70,  # CANNOT_CONVERT_TYPE
    72,  # CANNOT_PARSE_NUMBER
    117,  # INCORRECT_DATA
    128,  # TOO_LARGE_ARRAY_SIZE
    130,  # CANNOT_READ_ARRAY_FROM_TEXT
    131,  # TOO_LARGE_STRING_SIZE
    306,  # TOO_DEEP_RECURSION
    321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376,  # CANNOT_PARSE_UUID
    407,  # DECIMAL_OVERFLOW
    467,  # CANNOT_PARSE_BOOL
    636,  # CANNOT_EXTRACT_TABLE_STRUCTURE
}


# How many times as long as is set a request of this task may take. Whoever tries again until it succeeds raises it with
# each timeout: a store that needs longer than that would otherwise only be given the same work again and again.
timeout_multiplier: ContextVar[int] = ContextVar("timeout_multiplier", default=1)
MAX_TIMEOUT_MULTIPLIER = 16

# Of a body in parts, so much is sent at a time.
_PIECE_BYTES = 256 * 1024


class StoreError(OperatorError):
    """ClickHouse did not do what was asked. `code` is its number, where it gave one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class StoreUnavailableError(StoreError):
    """No answer, or no capacity. Of an insert: it may or may not be stored; the same block may be sent again."""


class StoreTimeoutError(StoreUnavailableError):
    """No answer in time, of ClickHouse or of a shard that it asked."""


class LimitExceededError(StoreError):
    """The query needs more time, memory or rows than it was given."""

    @property
    def is_memory(self) -> bool:
        return self.code == _MEMORY_LIMIT_EXCEEDED


class StatementTooLongError(LimitExceededError):
    """Longer, or with more parameters, than ClickHouse reads."""


class UnsupportedVersionError(StoreError):
    """ClickHouse is older than what Headrace is made for; nothing is read from it and nothing written."""


class UnknownColumnError(StoreError):
    """The statement has a name in it that is no column."""


class BadDataError(StoreError):
    """The rows cannot be read as the table's columns. Nothing of the block is stored."""


class ClickHouse:
    """A pool of HTTP connections to one ClickHouse. Methods raise StoreError and its kinds, nothing of the driver."""

    # The name of the cluster that it is part of, and settings of each statement.
    cluster: str = ""
    _usual: Settings = cluster_settings("")

    def __init__(
        self, settings: ClickHouseSettings, *, database: str | None = None, lowest_version: Version = ()
    ) -> None:
        """Connects on first use. `database` overrides the settings' one. An older ClickHouse is refused."""
        self._settings = settings
        self._lowest_version = lowest_version
        self.cluster = settings.clickhouse_cluster
        self._usual = cluster_settings(self.cluster)
        self.database = settings.clickhouse_database if database is None else database
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    @classmethod
    async def connect(cls, settings: ClickHouseSettings, *, database: str | None = None) -> Self:
        """Connect now. Raises StoreUnavailableError when ClickHouse does not answer."""
        store = cls(settings, database=database)
        try:
            await store._connected()
        except _FAILURES as error:
            raise _translate(error, settings) from error
        return store

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> AsyncClient:
        if self._client is None:
            async with self._connecting:
                if self._client is None:
                    client = await self._open()
                    if self._lowest_version:
                        await _refuse_older(client, self._lowest_version)
                    self._client = client
        return self._client

    async def _open(self) -> AsyncClient:
        url = urlsplit(self._settings.clickhouse_url)
        return await clickhouse_connect.get_async_client(
            host=url.hostname or "127.0.0.1",
            port=url.port or (8443 if url.scheme == "https" else 8123),
            interface=url.scheme,
            proxy_path=url.path.rstrip("/"),
            username=self._settings.clickhouse_login,
            password=self._settings.clickhouse_password,
            **_tls_options(self._settings),
            database=self.database,
            compress=False,
            query_limit=0,
            query_retries=0,
            connect_timeout=5,
            send_receive_timeout=self._settings.clickhouse_timeout_s * MAX_TIMEOUT_MULTIPLIER,
            autogenerate_session_id=False,
            connector_limit=100,
            connector_limit_per_host=100,
        )

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[AsyncClient]:
        """The driver's client, for so long as a request may take; its failures come out as StoreError."""
        try:
            async with asyncio.timeout(self._settings.clickhouse_timeout_s * timeout_multiplier.get()):
                yield await self._connected()
        except _FAILURES as error:
            raise _translate(error, self._settings) from error

    async def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        """The answer's rows, as Python values."""
        sql, given = in_short_fields(sql, parameters or {})
        async with self._asking() as client:
            result = await client.query(sql, parameters=given, settings={**self._usual, **(settings or {})})
        return list(result.result_rows)

    async def raw(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None, fmt: str = "JSONEachRow"
    ) -> bytes:
        """The answer's bytes in one of ClickHouse's output formats."""
        sql, given = in_short_fields(sql, parameters or {})
        async with self._asking() as client:
            return await client.raw_query(sql, parameters=given, settings={**self._usual, **(settings or {})}, fmt=fmt)

    async def raw_with(
        self, table: SentTable, sql: str, parameters: Parameters, settings: Settings, fmt: str = "RowBinary"
    ) -> bytes:
        """As `raw`, of a statement that reads a table which is sent with it: for lists too long for SQL."""
        sent = ExternalData(file_name=table.name, data=table.rows, fmt="RowBinary", structure=table.structure)
        sql, given = in_short_fields(sql, parameters)
        async with self._asking() as client:
            return await client.raw_query(
                sql, parameters=given, settings={**self._usual, **settings}, fmt=fmt, external_data=sent
            )

    async def command(self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None) -> None:
        """A statement without an answer (DDL, small INSERT ... SELECT, KILL)."""
        sql, given = in_short_fields(sql, parameters or {})
        async with self._asking() as client:
            await client.command(sql, parameters=given, settings={**self._patient(), **(settings or {})})

    async def insert_lines(
        self,
        table: str,
        columns: Sequence[str],
        lines: bytes | Sequence[bytes],
        token: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Insert JSON lines, whole or in parts. With a `token`, the same block again under the same token is
        stored once."""
        options: dict[str, Any] = {
            **self._patient(),
            **{"date_time_input_format": "best_effort", "async_insert": 0},
            **(settings or {}),
        }
        if token is not None:
            options["insert_deduplication_token"] = token
        body = lines if isinstance(lines, bytes) else _pieces(lines)
        async with self._asking() as client:
            await client.raw_insert(table, columns, body, settings=options, fmt="JSONEachRow")

    def _patient(self) -> Settings:
        """For what writes. A shard says nothing while it stores rows, and must not be given them again and again."""
        silent_s = self._usual.get("receive_timeout")
        return {**self._usual, "receive_timeout": silent_s * timeout_multiplier.get()} if silent_s else self._usual

    async def ping(self) -> bool:
        try:
            await self.command("SELECT 1")
        except StoreError:
            return False
        return True


def _tls_options(settings: ClickHouseSettings) -> dict[str, Any]:
    """A certificate logs in where there is no password; beside one, it only lets us connect."""
    options: dict[str, Any] = {}
    if settings.clickhouse_ca_file:
        options["ca_cert"] = settings.clickhouse_ca_file
    if settings.clickhouse_certificate_file:
        options["client_cert"] = settings.clickhouse_certificate_file
        options["client_cert_key"] = settings.clickhouse_key_file or settings.clickhouse_certificate_file
        options["tls_mode"] = "strict" if settings.clickhouse_password else "mutual"
    return options


def is_older(version: str, lowest: Version) -> bool:
    """`version` as ClickHouse says it, such as 26.8.15.10."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[: len(lowest)]) < lowest


async def _refuse_older(client: AsyncClient, lowest: Version) -> None:
    version, needed = client.server_version or "", ".".join(map(str, lowest))
    if not is_older(version, lowest):
        return
    await client.close()
    raise UnsupportedVersionError(
        f"ClickHouse is of version {version}, and Headrace needs {needed} or newer: an older one reads no property of an "
        "event with a whole number of more than 64 bits. Upgrade ClickHouse first."
    )


_FAILURES = (ClickHouseError, aiohttp.ClientError, asyncio.TimeoutError, OSError)


def _translate(error: BaseException, settings: ClickHouseSettings) -> StoreError:
    if isinstance(error, TimeoutError):
        return StoreTimeoutError("no answer in time")
    code = getattr(error, "code", None)
    message = str(error) or type(error).__name__
    if not isinstance(code, int):
        return StoreUnavailableError(tls_advice(error, "HEADRACE_CLICKHOUSE_") or message + _tls_hint(error, settings))
    if _CUT_OFF.match(message):
        return StoreUnavailableError(message, code)
    if _TOO_LONG.match(message):
        return StatementTooLongError(message, code)
    if code in _ADVICE:
        return StoreError(f"{_advice(code, message)} [{message}]", code)
    if code in _LIMIT_CODES:
        return LimitExceededError(message, code)
    if code in _BAD_DATA_CODES:
        return BadDataError(message, code)
    if code == _UNKNOWN_IDENTIFIER:
        return UnknownColumnError(message, code)
    if code == _SOCKET_TIMEOUT:
        return StoreTimeoutError(message, code)
    if code in _UNAVAILABLE_CODES:
        return StoreUnavailableError(message, code)
    return StoreError(message, code)


def _tls_hint(error: BaseException, settings: ClickHouseSettings) -> str:
    """A server that refuses a client's certificate ends the connection, and aiohttp forgets why."""
    is_ended = any(isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionError) for cause in causes(error))
    if not is_ended or not settings.clickhouse_url.startswith("https:"):
        return ""
    return (
        ". If ClickHouse asks clients for a certificate: is HEADRACE_CLICKHOUSE_CERTIFICATE_FILE set, signed by a CA that it "
        "knows, and not expired?"
    )


# What to change, for errors of the operator's.
_ADVICE = {
    497: "ClickHouse does not allow this to our user: give it the role that `headrace roles` prints "
    "(docs/how-to/clickhouse-rights.md)",
    516: "ClickHouse refuses the log-in: are HEADRACE_CLICKHOUSE_USER and HEADRACE_CLICKHOUSE_PASSWORD right?",
}
# The same, of a server that was asked by ours: there are users and roles of its own.
_ADVICE_ELSEWHERE = {
    497: "{server} does not allow this to our user, and ours does: give the user its role on every server of the cluster "
    "(docs/how-to/clickhouse-rights.md)",
    516: "{server} does not know our user, and ours does: make the user on every server of the cluster, with its role "
    "(docs/how-to/clickhouse-rights.md)",
}
_ELSEWHERE = re.compile(r"DB::Exception: Received from (\S+?)\. DB::Exception")


def _advice(code: int, message: str) -> str:
    elsewhere = _ELSEWHERE.search(message)
    return _ADVICE[code] if elsewhere is None else _ADVICE_ELSEWHERE[code].format(server=elsewhere[1])


# A connection between two servers that ended within a packet: the code alone says that rows cannot be read. From the
# beginning of the message, for further on it may have text of the rows.
_CUT_OFF = re.compile(
    r"[^:]*(?:code: \d+, server response: )?Code: \d+\. DB::(?:Net)?Exception: (?:Attempt to read after eof"
    r"|Cannot read all data\. Bytes read: \d+\. Bytes expected: \d+\.?)"
    r": (?:while receiving packet from|Insertion status:|While executing Remote)"
)
# No code is of these alone.
_TOO_LONG = re.compile(
    r"[^:]*(?:code: \d+, server response: )?(?:Code: \d+\. DB::Exception|Poco::Exception)[.:].{0,120}?"
    r"(?:Query tree is too big|AST is too (?:big|deep)|Too many form fields|Max query size exceeded)",
    re.DOTALL,
)
_UNAVAILABLE_CODES = {
    3,  # UNEXPECTED_END_OF_FILE
    24,  # CANNOT_WRITE_TO_OSTREAM
    74,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
    75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR
    202,  # TOO_MANY_SIMULTANEOUS_QUERIES
    210,  # NETWORK_ERROR
    236,  # ABORTED
    242,  # TABLE_IS_READ_ONLY
    243,  # NOT_ENOUGH_SPACE
    252,  # TOO_MANY_PARTS
    279,  # ALL_CONNECTION_TRIES_FAILED: a shard is away
    285,  # TOO_FEW_LIVE_REPLICAS
    286,  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    319,  # UNKNOWN_STATUS_OF_INSERT
    394,  # QUERY_WAS_CANCELLED
    439,  # CANNOT_SCHEDULE_TASK
    999,  # KEEPER_EXCEPTION
}


async def _pieces(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    """A body as it is sent. In one piece, driver and sockets would copy it five times, each into memory fresh from the
    system. The driver never sends such a body a second time by itself."""
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= _PIECE_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    if size:
        yield b"".join(gathered)
