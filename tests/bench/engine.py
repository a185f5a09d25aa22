"""The development server alone: `python -m tests.bench.engine`. One JSON object: start, insert, small query, page.

Of a server on a fresh folder: milliseconds of its CPU for each, the least seconds of the clock, and its memory.
"""

import asyncio
import json
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from services.contract.tables import EVENT_COLUMNS, EVENTS
from services.devstack.clickhouse_server import ClickHouseProcess
from services.runtime.clickhouse import ClickHouse
from services.runtime.settings import ClickHouseSettings
from services.schema.migrate import migrate
from services.schema.roles import Role

_LINES = 100_000
_BLOCKS = 4
_DAY_S = 1_790_000_000
_PAGE = (
    f"SELECT event_id, event, distinct_id, timestamp, properties FROM {EVENTS} FINAL WHERE project_id = 'bench' "
    f"AND timestamp >= fromUnixTimestamp({_DAY_S}) AND timestamp < fromUnixTimestamp({_DAY_S + 86400}) "
    "ORDER BY timestamp DESC LIMIT 100"
)
_AS_THE_QUERY_SERVICE = {"readonly": 2, "max_execution_time": 20, "wait_end_of_query": 1}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = ClickHouseProcess(Path(folder))
        figures = {"first start": _start(server)}
        asyncio.run(migrate(_settings(server, Role.ADMIN)))
        figures |= asyncio.run(_work(server))
        process = psutil.Process(server.pid)
        memory = {
            "resident MiB": process.memory_info().rss >> 20,
            "of its own MiB": process.memory_full_info().uss >> 20,
        }
        server.stop()
        figures["second start"] = _start(server)
        server.stop()
    print(json.dumps({**figures, "memory": memory}, indent=2))


def _start(server: ClickHouseProcess) -> dict[str, float]:
    began = time.monotonic()
    server.start()
    return {"CPU ms": _cpu_ms(server), "least wall ms": round(1000 * (time.monotonic() - began), 1)}


async def _work(server: ClickHouseProcess) -> dict[str, dict[str, float]]:
    """Merges wait until all is inserted, and are over before anything is asked."""
    admin, worker, query = [
        await ClickHouse.connect(_settings(server, r)) for r in (Role.ADMIN, Role.WORKER, Role.QUERY)
    ]
    await admin.command(f"SYSTEM STOP MERGES {EVENTS}")
    blocks = iter([_block(seed) for seed in range(_BLOCKS)])

    async def insert() -> None:
        await worker.insert_lines(EVENTS, EVENT_COLUMNS, next(blocks), uuid.uuid4().hex)

    async def ask(sql: str) -> None:
        await query.rows(sql, None, _AS_THE_QUERY_SERVICE)

    figures = {f"insert of {_LINES:,} lines": await _measured(server, insert, _BLOCKS - 1)}
    await admin.command(f"SYSTEM START MERGES {EVENTS}")
    await admin.command(f"OPTIMIZE TABLE {EVENTS} FINAL")
    await asyncio.sleep(2)
    figures["SELECT 1"] = await _measured(server, lambda: ask("SELECT 1"), 200)
    figures["page of 100"] = await _measured(server, lambda: ask(_PAGE), 15)
    for store in (admin, worker, query):
        await store.close()
    return figures


async def _measured(server: ClickHouseProcess, work: Callable[[], Awaitable[None]], times: int) -> dict[str, float]:
    """Each time, after one that is not counted."""
    await work()
    walls, cpu = [], _cpu_ms(server)
    for _ in range(times):
        began = time.monotonic()
        await work()
        walls.append(time.monotonic() - began)
    return {"CPU ms": round((_cpu_ms(server) - cpu) / times, 1), "least wall ms": round(1000 * min(walls), 1)}


def _cpu_ms(server: ClickHouseProcess) -> float:
    spent = psutil.Process(server.pid).cpu_times()
    return float(1000 * (spent.user + spent.system))


def _settings(server: ClickHouseProcess, role: Role) -> ClickHouseSettings:
    return ClickHouseSettings(
        clickhouse_url=server.url, clickhouse_user=role.value, clickhouse_password=server.password(role)
    )


def _block(seed: int) -> list[bytes]:
    """Lines of some 300 bytes, all of one day."""
    rng = random.Random(seed)
    return [
        json.dumps(
            {
                "project_id": "bench",
                "event_id": str(uuid.UUID(int=rng.getrandbits(128))),
                "event": "page_view",
                "distinct_id": f"user_{rng.randrange(50_000)}",
                "timestamp": _DAY_S + rng.randrange(86_400) + number % 1000 / 1000,
                "received_at": _DAY_S,
                "properties": json.dumps({"plan": "pro", "amount": number % 1000, "path": f"/a/b/{number % 500}"}),
                "idempotency_key": f"key-{number}",
                "original_timestamp": "",
            }
        ).encode()
        + b"\n"
        for number in range(_LINES)
    ]


if __name__ == "__main__":
    main()
