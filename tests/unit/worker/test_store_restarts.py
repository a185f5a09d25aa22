"""ClickHouse servers that were started again are noticed by their age, whatever the clocks say."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.runtime.clickhouse import ClickHouse, StoreUnavailableError
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.worker.consumer import store_restarts
from services.worker.consumer.store_restarts import ShardsChangedError, StoreRestarts, TooYoungError

FIRST, SECOND = TopicPartition("events", 0), TopicPartition("events", 1)
NOW_S = 1_800_000_000.0


class AgedStore(ClickHouse):
    """Says one host and age after the other; None: it is away."""

    def __init__(self, *ages: tuple[str, int] | None) -> None:
        super().__init__(ClickHouseSettings())
        self._ages = list(ages)

    async def rows(self, sql: str, parameters: Any = None, settings: Any = None) -> list[Sequence[Any]]:
        said = self._ages.pop(0)
        if said is None:
            raise StoreUnavailableError("away")
        return [(1, *said)]


async def looks(ages: list[tuple[str, int]], clock: list[float], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each look finds; `young` where it has to be repeated. `clock`: the seconds of each."""
    now = [0.0]
    clocks = SimpleNamespace(monotonic=lambda: now[0], time=lambda: NOW_S)
    monkeypatch.setattr(store_restarts, "time", clocks)
    watch = StoreRestarts(AgedStore(*ages), KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 10, dict, [])
    found: list[Any] = []
    for at in clock:
        now[0] = at
        try:
            found.append(await watch.look())
        except TooYoungError:
            found.append("young")
    return found


@pytest.mark.parametrize(
    ("ages", "clock", "found"),
    [
        ([100, 102, 104], [0, 2, 4], [None, None, None]),
        # Whole seconds, and a clock that is slower than ours.
        ([100, 101, 103], [0, 1.9, 4], [None, None, None]),
        ([0, 2, 4], [0, 2, 4], ["young", None, None]),
        ([100, 0, 2, 4], [0, 5, 7, 9], [None, "young", NOW_S - 7, None]),
        ([100, 3], [0, 5], [None, NOW_S - 5]),
        # It had just started, and has again: once before we knew of it, and once after.
        ([100, 1, 1, 3], [0, 2, 4, 6], [None, "young", "young", NOW_S - 6]),
        ([2, 3], [0, 3], [None, NOW_S - 3]),
        # Nobody could ask for an hour: it is older than it was, and not old enough.
        ([100, 600], [0, 3600], [None, NOW_S - 3600]),
        ([100, 3600], [0, 3600], [None, NOW_S - 3600]),
    ],
    ids=[
        "runs on",
        "rounded",
        "young",
        "new",
        "new for seconds",
        "twice",
        "young and new",
        "away for long",
        "for longer",
    ],
)
async def test_a_restart_is_noticed(
    ages: list[int], clock: list[float], found: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await looks([("a", age) for age in ages], clock, monkeypatch) == found


async def test_each_server_has_an_age_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ages = [("a", 100), ("b", 7), ("a", 104), ("b", 2)]
    assert await looks(ages, [0, 2, 4, 6], monkeypatch) == [None, None, None, NOW_S - 2]


async def test_a_partition_that_has_just_gone_is_read_again_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [{FIRST: 10, SECOND: 5}, {FIRST: 20}]
    asked: list[tuple[float, dict[TopicPartition, int]]] = []

    async def read_again(since_s: float, ends: Any, begins: Any) -> None:
        asked.append((since_s, ends))
        raise KeyboardInterrupt

    watch = StoreRestarts(
        AgedStore(("a", 100), None, ("a", 1), ("a", 3)),
        KafkaSettings(kafka_bootstrap="127.0.0.1:1"),
        10,
        lambda: held.pop(0),
        [],
    )
    monkeypatch.setattr(store_restarts, "_LOOK_EVERY_S", 0)
    monkeypatch.setattr(watch, "read_again", read_again)
    with pytest.raises(KeyboardInterrupt):
        await watch.run()
    ((since_s, ends),) = asked
    assert time.time() - 3 - 600 - 5 < since_s <= time.time() - 3 - 600
    assert ends == {FIRST: 20, SECOND: 5}


async def test_what_was_stored_last_is_read_again_whenever_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was away for an hour had lost what was stored before; and the records may have been old when they were
    read. The last minutes before its start had neither."""
    # Looks at these times; from 1200 to 4800 s the server is away, and has lost its power.
    at = [*range(0, 1201, 100), 2000, 4805]
    ages = [*[("a", 10_000 + each) for each in at[:-2]], None, ("a", 5)]
    now, watched = [0.0], list(at)
    held = [{FIRST: 1000 + each, **({SECOND: each} if each >= 900 else {})} for each in [*at[:-2], 1200]]
    asked: list[Any] = []

    async def sleep(_: float) -> None:
        now[0] = watched.pop(0)

    async def read_again(since_s: float, ends: Any, begins: Any) -> None:
        asked.append((since_s, ends, begins))
        raise KeyboardInterrupt

    clocks = SimpleNamespace(monotonic=lambda: now[0], time=lambda: NOW_S + now[0])
    monkeypatch.setattr(store_restarts, "time", clocks)
    monkeypatch.setattr(store_restarts, "asyncio", SimpleNamespace(sleep=sleep))
    watch = StoreRestarts(AgedStore(*ages), KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 10, lambda: held.pop(0), [])
    monkeypatch.setattr(watch, "read_again", read_again)
    with pytest.raises(KeyboardInterrupt):
        await watch.run()
    # Ten minutes before the last look that it answered; of the second partition, from when it came.
    assert asked == [(NOW_S + 600, {FIRST: 2200, SECOND: 1200}, {FIRST: 1600, SECOND: 900})]


async def test_it_can_be_turned_off() -> None:
    await StoreRestarts(AgedStore(), KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 0, dict, []).run()


class Sharded(ClickHouse):
    """Says shards and weights, and an age that grows."""

    def __init__(self) -> None:
        super().__init__(ClickHouseSettings(clickhouse_cluster="shop"))
        self.shards: list[Sequence[Any]] = [(1, 1), (2, 1)]
        self.ages: list[Sequence[Any]] = [(1, "a, replica 1", 100), (2, "a, replica 2", 100)]

    async def rows(self, sql: str, parameters: Any = None, settings: Any = None) -> list[Sequence[Any]]:
        if "host_name" in sql:
            return [(shard, "a", 9000) for shard, _ in self.shards]
        return self.shards if "system.clusters" in sql else self.ages


@pytest.mark.parametrize("shards", [[(1, 1), (2, 1), (3, 1)], [(1, 1)], [(1, 2), (2, 1)]])
async def test_a_worker_ends_when_ids_go_to_other_shards(shards: list[Sequence[Any]]) -> None:
    store = Sharded()
    watch = StoreRestarts(store, KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 10, dict, [])
    assert await watch.look() is None
    assert await watch.look() is None
    store.shards = shards
    with pytest.raises(ShardsChangedError, match="shop changed: start again"):
        await watch.look()


async def test_also_where_nothing_is_to_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is about something else."""
    monkeypatch.setattr(store_restarts, "_LOOK_EVERY_S", 0)
    store = Sharded()

    def read_until() -> dict[TopicPartition, int]:
        store.shards = [(1, 1), (2, 1), (3, 1)]
        return {}

    with pytest.raises(ShardsChangedError):
        await StoreRestarts(store, KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 0, read_until, []).run()


async def test_one_of_several_servers_that_started_again_is_noticed() -> None:
    store = Sharded()
    watch = StoreRestarts(store, KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 10, dict, [])
    assert await watch.look() is None
    store.ages = [(1, "a, replica 1", 100)]  # the other is away
    assert await watch.look() is None
    store.ages = [(1, "a, replica 1", 100), (2, "a, replica 2", 5)]
    assert await watch.look() is not None


@pytest.mark.parametrize(("shards", "since_s"), [([1, 2, 3], NOW_S - 5000), ([1, 1, 1], NOW_S - 1000)])
async def test_while_one_of_three_replicas_is_away_inserts_are_taken(
    shards: list[int], since_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged then, the others have. A shard of its own takes nothing while it is away."""
    now = [0.0]
    clocks = SimpleNamespace(monotonic=lambda: now[0], time=lambda: NOW_S)
    monkeypatch.setattr(store_restarts, "time", clocks)
    store = Sharded()
    store.shards = [(shard, 1) for shard in shards]
    watch = StoreRestarts(store, KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 10, dict, [])
    for at, numbers in ((0, (1, 2, 3)), (4000, (1, 2))):
        now[0] = at
        store.ages = [(number, f"a, replica {number}", 10_000 + at) for number in numbers]
        assert await watch.look() is None
    now[0] = 5000
    store.ages = [(1, "a, replica 1", 15_000), (2, "a, replica 2", 15_000), (3, "a, replica 3", 5)]
    assert await watch.look() == since_s
