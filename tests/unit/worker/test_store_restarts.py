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
from services.worker.consumer.store_restarts import StoreRestarts

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
        return [said]


def restarts(store: ClickHouse, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> StoreRestarts:
    """`clock`: the seconds of each look."""
    moments = iter(clock)
    clocks = SimpleNamespace(monotonic=lambda: next(moments), time=lambda: NOW_S)
    monkeypatch.setattr(store_restarts, "time", clocks)
    return StoreRestarts(store, KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 10, dict, [])


@pytest.mark.parametrize(
    ("ages", "clock", "found"),
    [
        ([100, 102, 104], [0, 2, 4], [None, None, None]),
        # Whole seconds, and a clock that is slower than ours.
        ([100, 101, 103], [0, 1.9, 4], [None, None, None]),
        ([0, 1, 3], [0, 2, 4], [None, None, None]),
        ([100, 0, 2], [0, 5, 7], [None, NOW_S, None]),
        ([100, 3], [0, 5], [None, NOW_S - 3]),
        # It had just started, and has again.
        ([1, 0], [0, 3], [None, NOW_S]),
        # Nobody could ask for an hour: it is older than it was, and not old enough.
        ([100, 600], [0, 3600], [None, NOW_S - 600]),
    ],
    ids=["runs on", "rounded", "young", "new", "new for seconds", "young and new", "away for long"],
)
async def test_a_restart_is_noticed(
    ages: list[int], clock: list[float], found: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = restarts(AgedStore(*[("a", age) for age in ages]), clock, monkeypatch)
    assert [await watch.look() for _ in ages] == found


async def test_each_server_has_an_age_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ages = [("a", 100), ("b", 7), ("a", 104), ("b", 0)]
    watch = restarts(AgedStore(*ages), [0, 2, 4, 6], monkeypatch)
    assert [await watch.look() for _ in ages] == [None, None, None, NOW_S]


async def test_a_partition_that_has_just_gone_is_read_again_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [{FIRST: 10, SECOND: 5}, {FIRST: 20}]
    asked: list[tuple[float, dict[TopicPartition, int]]] = []

    async def read_again(since_s: float, ends: Any) -> None:
        asked.append((since_s, ends))
        raise KeyboardInterrupt

    watch = StoreRestarts(
        AgedStore(("a", 100), None, ("a", 1)), KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 10, lambda: held.pop(0), []
    )
    monkeypatch.setattr(store_restarts, "_LOOK_EVERY_S", 0)
    monkeypatch.setattr(watch, "read_again", read_again)
    with pytest.raises(KeyboardInterrupt):
        await watch.run()
    ((since_s, ends),) = asked
    assert time.time() - 1 - 600 - 5 < since_s <= time.time() - 1 - 600
    assert ends == {FIRST: 20, SECOND: 5}


async def test_it_can_be_turned_off() -> None:
    await StoreRestarts(AgedStore(), KafkaSettings(kafka_bootstrap="127.0.0.1:1"), 0, dict, []).run()
