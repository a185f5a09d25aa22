"""Failures of ClickHouse are told apart, whatever call met them, and nothing of the driver comes through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import aiohttp
import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from services.runtime.clickhouse import (
    BadDataError,
    ClickHouse,
    LimitExceededError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from services.runtime.settings import ClickHouseSettings

# As ClickHouse says that the connection to a shard has ended within a packet.
_SAYS = "Received ClickHouse exception, code: 33, server response: Code: 33. DB::Exception: "
_CANNOT_READ = f"{_SAYS}Cannot read all data. Bytes read: 5. Bytes expected: 25"
_EOF = "Received ClickHouse exception, code: 32, server response: Code: 32. DB::Exception: Attempt to read after eof"
_FROM_SHARD = ": while receiving packet from 127.0.0.1:34049, local address: 127.0.0.1:49994: Insertion status:"


class Driver:
    """What ClickHouse uses of the driver's client: raises `failure`, and remembers the inserts."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure
        self.inserts: list[tuple[str, tuple[str, ...], bytes, dict[str, Any], str]] = []
        self.closed = False

    async def _do(self, *args: Any, **options: Any) -> Any:
        if self.failure:
            raise self.failure
        return b""

    query = raw_query = command = _do

    async def raw_insert(self, table: str, columns: Any, lines: bytes, settings: dict[str, Any], fmt: str) -> None:
        await self._do()
        self.inserts.append((table, tuple(columns), lines, settings, fmt))

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Driver], ClickHouse]:
    def connect(driver: Driver) -> ClickHouse:
        async def get_async_client(**_: Any) -> Driver:
            return driver

        monkeypatch.setattr(clickhouse_connect, "get_async_client", get_async_client)
        return ClickHouse(ClickHouseSettings())

    return connect


CALLS: dict[str, Callable[[ClickHouse], Awaitable[object]]] = {
    "rows": lambda store: store.rows("SELECT 1"),
    "raw": lambda store: store.raw("SELECT 1"),
    "command": lambda store: store.command("SELECT 1"),
    "insert_lines": lambda store: store.insert_lines("t", ("a",), b"{}\n"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (DatabaseError("rows", code=158), LimitExceededError, 158),
        (DatabaseError("time", code=159), LimitExceededError, 159),
        (DatabaseError("memory", code=241), LimitExceededError, 241),
        (DatabaseError("parse", code=27), BadDataError, 27),
        (DatabaseError("data", code=117), BadDataError, 117),
        (DatabaseError("uuid", code=376), BadDataError, 376),
        (DatabaseError(_CANNOT_READ + _FROM_SHARD, code=33), StoreUnavailableError, 33),
        (DatabaseError(f"{_CANNOT_READ}: Insertion status:\nWrote", code=33), StoreUnavailableError, 33),
        (DatabaseError(_EOF + _FROM_SHARD, code=32), StoreUnavailableError, 32),
        # Rows that say so themselves are bad all the same.
        (
            DatabaseError(f"{_CANNOT_READ} (while reading the value of key e: '{_FROM_SHARD}')", code=33),
            BadDataError,
            33,
        ),
        (DatabaseError("parts", code=252), StoreUnavailableError, 252),
        (DatabaseError("read only", code=242), StoreUnavailableError, 242),
        (DatabaseError("keeper", code=999), StoreUnavailableError, 999),
        (DatabaseError("no table", code=60), StoreError, 60),
        (DatabaseError("syntax", code=62), StoreError, 62),
        (OperationalError("connection refused"), StoreUnavailableError, None),
        (aiohttp.ClientConnectionError("reset"), StoreUnavailableError, None),
        (TimeoutError(), StoreTimeoutError, None),
        (ConnectionResetError("reset"), StoreUnavailableError, None),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value),
)
async def test_a_failure_is_of_its_kind(
    connect: Callable[[Driver], ClickHouse],
    call: Callable[[ClickHouse], Awaitable[object]],
    failure: Exception,
    kind: type[StoreError],
    code: int | None,
) -> None:
    with pytest.raises(StoreError) as raised:
        await call(connect(Driver(failure)))
    assert type(raised.value) is kind
    assert raised.value.code == code
    assert str(raised.value)


@pytest.mark.parametrize(
    ("code", "text", "says"),
    [
        (516, "Code: 516. DB::Exception: query: Authentication failed", "are HEADRACE_CLICKHOUSE_USER and"),
        (497, "Code: 497. DB::Exception: query: Not enough privileges", "give it the role that"),
        (
            516,
            "Code: 516. DB::Exception: Received from shard-2:9000. DB::Exception: query: Authentication failed",
            "shard-2:9000 does not know our user, and ours does",
        ),
        (
            497,
            "Code: 497. DB::Exception: Received from [::1]:9000. DB::Exception: query: Not enough privileges",
            "[::1]:9000 does not allow this to our user, and ours does",
        ),
    ],
)
async def test_of_a_refusal_it_is_said_whose_it_is(
    connect: Callable[[Driver], ClickHouse], code: int, text: str, says: str
) -> None:
    """Of a user that another server of the cluster does not know, the password of ours was doubted."""
    with pytest.raises(StoreError) as raised:
        await connect(Driver(DatabaseError(text, code=code))).rows("SELECT 1")
    assert says in str(raised.value)


async def test_an_insert_carries_its_token(connect: Callable[[Driver], ClickHouse]) -> None:
    driver = Driver(None)
    store = connect(driver)
    await store.insert_lines("events", ("a", "b"), b"{}\n", "token", {"max_threads": 1})
    await store.insert_lines("events", ("a", "b"), b"{}\n")
    (first, second) = driver.inserts
    assert first[:3] == ("events", ("a", "b"), b"{}\n")
    assert first[4] == "JSONEachRow"
    assert (first[3]["insert_deduplication_token"], first[3]["max_threads"]) == ("token", 1)
    assert first[3]["async_insert"] == 0
    assert "insert_deduplication_token" not in second[3]


async def test_an_insert_in_parts_sends_them_all_in_order(
    connect: Callable[[Driver], ClickHouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.clickhouse._PIECE_BYTES", 10)
    driver = Driver(None)
    await connect(driver).insert_lines("events", ("a",), [b"{1}\n", b"{2}\n", b"{333333333}\n", b"", b"{4}\n"])
    await connect(driver).insert_lines("events", ("a",), [b"{1}\n", b"{22222222}\n", b""])
    pieces = [[piece async for piece in cast("AsyncIterator[bytes]", body)] for _, _, body, _, _ in driver.inserts]
    assert pieces == [[b"{1}\n{2}\n{333333333}\n", b"{4}\n"], [b"{1}\n{22222222}\n"]]


async def test_ping_answers_instead_of_raising(connect: Callable[[Driver], ClickHouse]) -> None:
    assert await connect(Driver(None)).ping()
    assert not await connect(Driver(OperationalError("away"))).ping()
    assert not await connect(Driver(DatabaseError("odd", code=516))).ping()


async def test_it_connects_once_on_first_use_and_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(None)
    attempts = 0

    async def get_async_client(**_: Any) -> Driver:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        if attempts == 1:
            raise OperationalError("away")
        return driver

    monkeypatch.setattr(clickhouse_connect, "get_async_client", get_async_client)
    store = ClickHouse(ClickHouseSettings())
    assert attempts == 0
    with pytest.raises(StoreUnavailableError):
        await store.command("SELECT 1")
    await asyncio.gather(*[store.command("SELECT 1") for _ in range(10)])
    assert attempts == 2
    await store.close()
    assert driver.closed


async def test_connecting_now_says_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get_async_client(**_: Any) -> Driver:
        raise OperationalError("away")

    monkeypatch.setattr(clickhouse_connect, "get_async_client", get_async_client)
    with pytest.raises(StoreUnavailableError, match="away"):
        await ClickHouse.connect(ClickHouseSettings())


@pytest.mark.parametrize(
    ("url", "host", "port", "interface"),
    [
        ("http://db:9123", "db", 9123, "http"),
        ("https://db.example", "db.example", 8443, "https"),
        ("http://db.example", "db.example", 8123, "http"),
    ],
)
async def test_the_address_is_taken_apart(
    monkeypatch: pytest.MonkeyPatch, url: str, host: str, port: int, interface: str
) -> None:
    asked: dict[str, Any] = {}

    async def get_async_client(**options: Any) -> Driver:
        asked.update(options)
        return Driver(None)

    monkeypatch.setattr(clickhouse_connect, "get_async_client", get_async_client)
    await ClickHouse(ClickHouseSettings(clickhouse_url=url), database="other").ping()
    assert (asked["host"], asked["port"], asked["interface"], asked["database"]) == (host, port, interface, "other")
