"""When queries look whether a shard is away: never on the way of one that is well."""

import asyncio

import pytest

from services.query.execution.missing_shards import MissingShards
from services.runtime.clickhouse import StoreError, StoreTimeoutError, StoreUnavailableError


class _Store:
    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.says: StoreError | None = None
        self.looks = 0

    async def rows(self, *_: object, **__: object) -> list[object]:
        self.looks += 1
        if self.says is not None:
            raise self.says
        return []


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("services.query.execution.missing_shards.time.monotonic", lambda: now[0])
    return now


async def test_looks_only_for_a_while_after_something_did_not_answer(now: list[float]) -> None:
    store = _Store("shop")
    missing = MissingShards(store, skip=True)  # type: ignore[arg-type]
    store.says = StoreUnavailableError("away")
    assert not await missing.is_one_away()
    assert store.looks == 0
    missing.suspect()
    assert await missing.is_one_away()
    assert await missing.is_one_away()  # by the query that has just looked
    assert store.looks == 1
    now[0] += 1
    store.says = None
    assert not await missing.is_one_away()
    store.says = StoreError("no right")
    assert not await missing.is_one_away()
    now[0] += 30
    store.says = StoreUnavailableError("away")
    assert not await missing.is_one_away()  # one that only answers slowly is not left out for ever
    assert store.looks == 3


@pytest.mark.parametrize(("cluster", "skip"), [("", True), ("shop", False)])
async def test_without_shards_to_skip_nothing_is_looked_at(now: list[float], cluster: str, skip: bool) -> None:
    store = _Store(cluster)
    missing = MissingShards(store, skip=skip)  # type: ignore[arg-type]
    missing.suspect()
    assert not await missing.is_one_away()
    assert not missing.may_be_skipped
    assert store.looks == 0


async def test_the_server_that_is_asked_may_hang_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MissingShards.__module__}._LOOK_S", 0.01)
    store = _Store("shop")
    missing = MissingShards(store, skip=True)  # type: ignore[arg-type]
    missing.suspect()

    async def hang(*_: object, **__: object) -> list[object]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(store, "rows", hang)
    with pytest.raises(StoreTimeoutError):
        await missing.is_one_away()
