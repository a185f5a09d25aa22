"""Plain SQL over HTTP, with what a query cost: rows and bytes from the answer's summary, memory from system.processes."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from msgspec import Struct

_POLL_S = 0.002
_PEAK = "SELECT max(peak_memory_usage) FROM system.processes WHERE query NOT LIKE '%system.processes%'"


class Cost(Struct, frozen=True):
    """`peak_memory_bytes` is the highest that was seen; a query of a few milliseconds may end unseen (0)."""

    rows: int
    bytes: int
    peak_memory_bytes: int = 0


class SqlClient:
    """One connection; every statement waits for its end. Raises RuntimeError with the engine's message."""

    def __init__(self, url: str, database: str, user: tuple[str, str]) -> None:
        """`user`: name and password."""
        self._url = url
        self._database = database
        self._user = user
        self._http = httpx.Client(timeout=3600, auth=user)

    def run(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        database: str | None = None,
        **settings: Any,
    ) -> httpx.Response:
        values = {f"param_{name}": _text(value) for name, value in (parameters or {}).items()}
        options = {name: str(value) for name, value in settings.items()}
        query = {"database": database or self._database, "wait_end_of_query": "1", **options, **values}
        response = self._http.post(self._url, params=query, content=sql.encode())
        if response.status_code != 200:
            raise RuntimeError(f"{response.text[:1000]}\n{sql[:1000]}")
        return response

    def rows(self, sql: str) -> list[list[Any]]:
        body = self.run(f"{sql} FORMAT JSONCompactEachRow").content
        return [msgspec.json.decode(line) for line in body.splitlines()]

    def cost(self, sql: str, parameters: Mapping[str, Any], database: str | None = None, **settings: Any) -> Cost:
        """Runs it twice: once for the summary, once with the memory watched, so that neither disturbs a timing."""
        response = self.run(sql, parameters, database, **settings)
        summary = msgspec.json.decode(response.headers.get("x-clickhouse-summary", "{}"))
        peak = self._peak(sql, parameters, database, settings)
        return Cost(int(summary.get("read_rows", 0)), int(summary.get("read_bytes", 0)), peak)

    def _peak(self, sql: str, parameters: Mapping[str, Any], database: str | None, settings: Mapping[str, Any]) -> int:
        watched = SqlClient(self._url, self._database, self._user)
        work = threading.Thread(target=lambda: watched.run(sql, parameters, database, **settings))
        work.start()
        peak = 0
        while work.is_alive():
            peak = max(peak, int(self.rows(_PEAK)[0][0] or 0))
            time.sleep(_POLL_S)
        work.join()
        return peak


def _text(value: Any) -> str:
    """A parameter as ClickHouse reads it from the URL."""
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_quoted(member) for member in value) + "]"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)
