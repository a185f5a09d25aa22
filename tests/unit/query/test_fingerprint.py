"""How often the fingerprint of the data is asked for where a server of a cluster says nothing."""

import asyncio

import pytest

from services.query.execution.fingerprint import Fingerprints
from services.runtime.clickhouse import StoreError, StoreUnavailableError

# (table, partition, rows, hash of its files)
Part = tuple[str, str, int, str]


class _Store:
    database = "headrace"

    def __init__(self, cluster: str, says: StoreError | None) -> None:
        self.cluster, self.says = cluster, says
        self.asked = 0
        self.parts: list[Part] = [("deleted_ids", "tuple()", 1, "a")]

    async def rows(self, *_: object) -> list[Part]:
        self.asked += 1
        if self.says is not None:
            raise self.says
        return self.parts


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
    assert found.deletions != 0
    assert await fingerprints.read(None) == found


async def test_a_server_that_hangs_is_not_waited_for_as_long_as_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was a minute, before the query itself began to wait."""
    monkeypatch.setattr("services.query.execution.fingerprint._LONGEST_S", 0.01)
    store = _Store("", None)

    async def hang(*_: object) -> list[Part]:
        store.asked += 1
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(store, "rows", hang)
    fingerprints = Fingerprints(store)  # type: ignore[arg-type]
    assert [await fingerprints.read(None) for _ in range(3)] == [None, None, None]
    assert store.asked == 1


@pytest.mark.parametrize(
    ("cluster", "parts", "fresh"),
    [
        ("", [], False),
        ("", [("events", "202603", 90, "a"), ("events", "202603", 10, "b")], False),
        ("", [("events", "202603", 89, "a"), ("events", "202603", 11, "b")], True),
        # Each month by itself: a row never has its like in another one.
        ("", [("events", "202602", 50, "a"), ("events", "202603", 50, "b")], False),
        (
            "",
            [("events", "202602", 50, "a"), ("person_ids", "tuple()", 50, "b"), ("person_ids", "tuple()", 50, "c")],
            False,
        ),
        # Of other servers, or copies on them.
        ("shop", [("events_local", "202603", 50, "a"), ("events_local", "202603", 50, "b")], False),
    ],
)
async def test_what_is_fresh(cluster: str, parts: list[Part], fresh: bool) -> None:
    store = _Store(cluster, None)
    store.parts = parts
    found = await Fingerprints(store).read(None)  # type: ignore[arg-type]
    assert found is not None
    assert found.fresh == fresh


async def test_the_order_of_parts_says_nothing() -> None:
    store = _Store("", None)
    store.parts = [("events", "202603", 1, "a"), ("deleted_ids", "tuple()", 1, "b"), ("deleted_ids", "tuple()", 1, "c")]
    fingerprints = Fingerprints(store)  # type: ignore[arg-type]
    before = await fingerprints.read(None)
    store.parts = store.parts[::-1]
    assert await fingerprints.read(None) == before
    store.parts[0] = ("deleted_ids", "tuple()", 1, "d")
    after = await fingerprints.read(None)
    assert before is not None
    assert after is not None
    assert (after.of_all, after.deletions) != (before.of_all, before.deletions)
    store.parts = [("events", "202603", 1, "a")]
    without = await fingerprints.read(None)
    assert without is not None
    assert without.deletions == 0
