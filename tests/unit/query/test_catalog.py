"""What the catalog asks is asked at once; when one statement fails, none goes on."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from services.contract.api.catalog import CatalogQuery, CatalogResult
from services.query.catalog.read import DAYS_SQL, EVENTS_SQL, GROUP_SQL, GROUPS_SQL, PEOPLE_SQL, read_catalog
from services.query.catalog.sample import summary
from services.query.execution.executor import QueryExecutor
from services.runtime.clickhouse import LimitExceededError


class Together:
    """A store that answers when so many statements wait for it. `fails`: the statement that it refuses."""

    def __init__(self, *waited_for: set[tuple[str, str]], fails: str = "") -> None:
        self._waited_for = list(waited_for)
        self._fails = fails
        self._arrived = asyncio.Condition()
        self.waiting: set[tuple[str, str]] = set()

    async def rows(self, sql: str, parameters: dict[str, Any]) -> list[Sequence[Any]]:
        one = sql, parameters.get("type", "")
        self.waiting.add(one)
        try:
            async with self._arrived:
                self._arrived.notify_all()
                await self._arrived.wait_for(lambda: any(one in they <= self.waiting for they in self._waited_for))
            if sql == self._fails:
                raise LimitExceededError("too much")
            if self._fails:
                await asyncio.Event().wait()
            return [("a", 2), ("b", 1)] if sql == GROUPS_SQL else []
        finally:
            if self._fails:
                self.waiting.discard(one)


FIRST = {(sql, "") for sql in (EVENTS_SQL, PEOPLE_SQL, GROUPS_SQL, DAYS_SQL)}
OF_GROUPS = {(GROUP_SQL, "a"), (GROUP_SQL, "b")}


async def read(store: Together) -> CatalogResult:
    async with asyncio.timeout(5):
        return await read_catalog(cast(QueryExecutor, store), "shop", CatalogQuery(event="view"), building=False)


async def test_what_needs_nothing_of_each_other_is_asked_at_once() -> None:
    store = Together(FIRST, OF_GROUPS)
    result = await read(store)
    assert [(one.group_type, one.groups, one.sample) for one in result.groups] == [("a", 2, 0), ("b", 1, 0)]
    assert store.waiting == FIRST | OF_GROUPS


@pytest.mark.parametrize("sql", [EVENTS_SQL, PEOPLE_SQL, GROUPS_SQL, DAYS_SQL])
async def test_when_one_fails_all_are_stopped(sql: str) -> None:
    store = Together(FIRST, fails=sql)
    with pytest.raises(LimitExceededError):
        await read(store)
    assert store.waiting == set()


def test_names_with_dots_are_those_that_filters_find() -> None:
    one = {"a.b": 1, "a": {"b": 2, "c.d": 3, "c": {"e": 4}}, "x.y": {"z": 5}, "": {"q": 6}}
    found = summary([one], "", 100)
    assert {each.name: [bytes(top.value) for top in each.top] for each in found} == {
        "a.b": [b"1"],
        "a": [],
        "a.c": [],
        "a.c.e": [b"4"],
        "x.y": [],
        "": [],
        ".q": [b"6"],
    }
    assert {(each.share, *each.types.values()) for each in found} == {(1.0, 1.0)}


def test_a_number_is_one_value_however_it_is_written() -> None:
    values = (1, 1.0, 0, -0.0, 1.5, "1", True, 2**64, 1e300)
    large = (2.0**53, 2**53, 2.0**63, 9223372036854776000, 1e20, 10**20, -1e21, -(10**21), 10**300, 10**21 + 1)
    nested = ([1, {"a": -0.0}], [1.0, {"a": 0}])
    (found,) = summary([{"n": value} for value in (*values, *large, *nested)], "", 100)
    assert {bytes(top.value): round(top.share * 21) for top in found.top} == {
        b"1": 2,
        b"0": 2,
        b"1.5": 1,
        b'"1"': 1,
        b"true": 1,
        b"18446744073709551616": 1,
        b"1e300": 2,
        b"9007199254740992": 2,
        b"9223372036854776000": 2,
        b"100000000000000000000": 2,
        b"-1e21": 2,
        b"1000000000000000000001": 1,
        b'[1,{"a":0}]': 2,
    }
