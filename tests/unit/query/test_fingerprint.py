"""How often the fingerprint of the data is asked for where a server of a cluster says nothing."""

import asyncio

import pytest

from services.query.execution.fingerprint import Fingerprints
from services.runtime.clickhouse import StoreError, StoreUnavailableError


class _Store:
    database = "headrace"

    def __init__(self, cluster: str, says: StoreError | None) -> None:
        self.cluster, self.says = cluster, says
        self.asked = 0

    async def rows(self, *_: object) -> list[tuple[int, int, int]]:
        self.asked += 1
        if self.says is not None:
            raise self.says
        return [(1, 2, 3)]


@pytest.mark.parametrize(
    ("cluster", "says", "asked"),
    [
        ("shop", StoreUnavailableError("a replica hangs"), 1),
        ("shop", StoreError("no right"), 3),
        ("", StoreUnavailableError("away"), 3),
    ],
)
async def test_of_a_server_that_is_away_nobody_asks_again_for_a_while(
    monkeypatch: pytest.MonkeyPatch, cluster: str, says: StoreError, asked: int
) -> None:
    """Each answer waited for a replica that hangs, though another one had all rows."""
    now = 100.0
    monkeypatch.setattr("services.query.execution.fingerprint.time.monotonic", lambda: now)
    store = _Store(cluster, says)
    fingerprints = Fingerprints(store)  # type: ignore[arg-type]
    assert [await fingerprints.read(None) for _ in range(3)] == [None, None, None]
    assert store.asked == asked
    store.says = None
    now += 31
    found = await fingerprints.read(None)
    assert found is not None
    assert found.deletions == 3
    assert await fingerprints.read(None) == found


async def test_a_server_that_hangs_is_not_waited_for_as_long_as_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was a minute, before the query itself began to wait."""
    monkeypatch.setattr("services.query.execution.fingerprint._LONGEST_S", 0.01)
    store = _Store("", None)

    async def hang(*_: object) -> list[tuple[int, int, int]]:
        store.asked += 1
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(store, "rows", hang)
    fingerprints = Fingerprints(store)  # type: ignore[arg-type]
    assert [await fingerprints.read(None) for _ in range(3)] == [None, None, None]
    assert store.asked == 1
