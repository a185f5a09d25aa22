"""Asks the real query service, in this process, and notes the statements that it sends to ClickHouse."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import httpx
import msgspec
from msgspec import Struct

from services.contract.api.endpoints import BASE_PATH
from services.query.app import create_app
from services.query.catalog.builder import CatalogBuilder
from services.runtime.clickhouse import ClickHouse, Parameters, Settings
from services.runtime.settings import ClickHouseSettings, QuerySettings
from tests.bench.query.history import PROJECT
from tests.support.query_client import insert_keys

_KEY = "hr_bench_query"


class Statement(Struct, frozen=True):
    sql: str
    parameters: dict[str, Any]
    settings: dict[str, Any]


class Asker:
    """`ask` returns how long the answer took, in ms, request and JSON included."""

    def __init__(self, http: httpx.AsyncClient, runner: asyncio.Runner, statements: list[Statement]) -> None:
        self._http = http
        self._runner = runner
        self._statements = statements
        self._answer: bytes = b""

    def answers(self, path: str) -> bool:
        """Whether the service has that call."""
        return self._send(path, {}).status_code != 404

    def ask(self, path: str, body: dict[str, Any]) -> float:
        self._statements.clear()
        started = time.perf_counter()
        response = self._send(path, body)
        took_ms = (time.perf_counter() - started) * 1000
        if response.status_code != 200:
            raise RuntimeError(f"{path} {body}: {response.text[:1000]}")
        self._answer = response.content
        return took_ms

    def _send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"authorization": f"Bearer {_KEY}"}
        return self._runner.run(self._http.post(BASE_PATH + path, json=body, headers=headers))

    @property
    def answer(self) -> Any:
        """Of the last query."""
        return msgspec.json.decode(self._answer)

    @property
    def statements(self) -> list[Statement]:
        """Those of the last query."""
        return list(self._statements)


@contextmanager
def query_service(settings: ClickHouseSettings, admin: ClickHouseSettings) -> Iterator[Asker]:
    """The service on that database, with its own limits but enough time for a cold start. `admin` makes its key."""
    insert_keys(admin, [(PROJECT, _KEY, ["query"])])
    statements: list[Statement] = []

    class Noting(ClickHouse):
        """Notes what a query asks; the keys' own reads carry no settings."""

        async def rows(
            self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
        ) -> list[Any]:
            _note(sql, parameters, settings)
            return await super().rows(sql, parameters, settings)

        async def raw(
            self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None, fmt: str = ""
        ) -> bytes:
            _note(sql, parameters, settings)
            return await super().raw(sql, parameters, settings, fmt)

    def _note(sql: str, parameters: Parameters | None, settings: Settings | None) -> None:
        if settings:
            statements.append(Statement(sql, dict(parameters or {}), dict(settings)))

    with mock.patch("services.query.app.ClickHouse", Noting):
        # A kept result would be measured else, and a property that was promoted meanwhile.
        ours = {"query_max_execution_s": 600, "query_max_kept_bytes": 0, "query_promote_up_to": 0}
        app = create_app(QuerySettings(**{**settings.model_dump(), **ours}))
    # The catalog reads all days at its start, in the time of whatever is measured.
    with mock.patch.object(CatalogBuilder, "build_forever", _for_ever), asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query", timeout=600)
        try:
            runner.run(_until_ready(http))
            yield Asker(http, runner, statements)
        finally:
            runner.run(http.aclose())
            runner.run(lifespan.__aexit__(None, None, None))


async def _for_ever(_: CatalogBuilder) -> None:
    await asyncio.Event().wait()


async def _until_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await http.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 (nobody tells us)
            await asyncio.sleep(0.05)
