"""When a property gets a column by itself, and which properties a query reads."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import structlog

from services.query.execution.materialized_columns import MaterializedColumns
from services.query.execution.promoter import Promoter
from services.query.insights.dependencies import properties_read
from services.query.insights.registry import parse_query
from services.runtime.clickhouse import ClickHouse, Settings, StoreError
from services.runtime.clickhouse import Parameters as Values
from services.runtime.settings import ClickHouseSettings

WINDOW = {"since": "2026-03-01", "until": "2026-03-02"}


class Store(ClickHouse):
    """Has so many events, and some columns; notes what is altered, or refuses it. `other`: of another version, by table."""

    def __init__(
        self,
        events: int,
        columns: Sequence[str] = (),
        refused: StoreError | None = None,
        other: Mapping[str, str] = {},
        cluster: str = "",
    ) -> None:
        super().__init__(ClickHouseSettings(clickhouse_cluster=cluster))
        self.events, self.columns, self.refused, self.other = events, columns, refused, other
        self.altered: list[str] = []

    async def command(self, sql: str, parameters: Values | None = None, settings: Settings | None = None) -> None:
        if self.refused is not None:
            raise self.refused
        self.altered.append(sql.partition(" String ")[0])

    async def rows(
        self, sql: str, parameters: Values | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        assert parameters is not None
        if "system.parts" in sql:
            return [(self.events,)]
        if "tables" in parameters:
            return [(sum(self.other.get(table) == parameters["name"] for table in parameters["tables"]),)]
        return [(column,) for column in self.columns]


def promoter(store: Store, up_to: int = 5, promoted: Sequence[str] = ()) -> Promoter:
    columns = MaterializedColumns(store, 60)
    columns.keys = frozenset(promoted)
    return Promoter(store, columns, up_to)


def column(key: str) -> list[str]:
    return [
        f"ALTER TABLE events  ADD COLUMN IF NOT EXISTS `property_{key}`",
        f"ALTER TABLE events  MATERIALIZE COLUMN `property_{key}`",
    ]


async def test_a_property_is_promoted_when_it_was_read_for_as_long_as_its_column_takes() -> None:
    store = Store(events=100_000_000)
    one = promoter(store)
    for _ in range(99):
        one.note(["plan", "country"], 1)
        await one.promote()
    assert store.altered == []
    one.note(["plan"], 1)
    await one.promote()
    assert store.altered == column("plan")
    await one.promote()  # the other one has not been read for so long
    one.note(["country"], 1)
    await one.promote()
    assert store.altered == [*column("plan"), *column("country")]


async def test_of_few_events_it_takes_half_a_minute() -> None:
    store = Store(events=1000)
    one = promoter(store)
    one.note(["plan"], 29)
    await one.promote()
    assert store.altered == []
    one.note(["plan"], 1)
    await one.promote()
    assert store.altered == column("plan")


@pytest.mark.parametrize(("up_to", "promoted"), [(0, ()), (2, ("a", "b")), (2, ("a", "b", "c"))])
async def test_no_more_than_allowed(up_to: int, promoted: Sequence[str]) -> None:
    store = Store(events=10)
    one = promoter(store, up_to, promoted)
    one.note(["plan"], 1000)
    await one.promote()
    assert store.altered == []


async def test_a_column_that_came_a_moment_ago_counts() -> None:
    store = Store(events=10, columns=["property_a"])
    one = promoter(store, up_to=1)
    one.note(["plan"], 1000)
    await one.promote()
    assert store.altered == []


async def test_what_is_promoted_is_not_promoted_again() -> None:
    store = Store(events=10)
    one = promoter(store, promoted=["plan"])
    one.note(["plan"], 1000)
    await one.promote()
    assert store.altered == []


@pytest.mark.parametrize(("cluster", "table"), [("", "events"), ("shop", "events"), ("shop", "events_local")])
async def test_a_column_that_another_version_made_stays(cluster: str, table: str) -> None:
    store = Store(events=10, other={table: "property_plan"}, cluster=cluster)
    one = promoter(store)
    one.note(["plan"], 1000)
    await one.promote()
    assert store.altered == []


async def test_names_that_no_column_can_have_are_left_out_and_others_are_bounded() -> None:
    store = Store(events=10)
    one = promoter(store)
    one.note(["it's", "x" * 65], 1000)
    await one.promote()
    assert store.altered == []
    one.note(["plan"], 29)
    one.note([f"k{i}" for i in range(5000)], 1)
    one.note(["plan"], 1)
    await one.promote()
    assert store.altered == column("plan")


async def test_a_role_without_the_right_is_told_what_to_do() -> None:
    store = Store(events=10, refused=StoreError("Not enough privileges", 497))
    one = promoter(store)
    with structlog.testing.capture_logs() as logs:
        one.note(["plan"], 1000)
        await one.promote()
        await one.promote()  # not before it was read for as long again
    (said,) = logs
    assert said["event"] == "property_not_promoted"
    assert said["property"] == "plan"
    assert "headrace roles" in said["advice"]


async def test_what_fails_is_tried_again_after_as_much_reading() -> None:
    store = Store(events=10, refused=StoreError("a replica is away"))
    one = promoter(store)
    with structlog.testing.capture_logs() as logs:
        one.note(["plan"], 1000)
        await one.promote()
    assert "headrace properties promote plan" in logs[0]["advice"]
    store.refused = None
    await one.promote()
    assert store.altered == []
    one.note(["plan"], 1000)
    await one.promote()
    assert store.altered == column("plan")


@pytest.mark.parametrize(
    ("kind", "body", "read"),
    [
        ("events", {**WINDOW, "filter": {"plan": 1, "properties.event": 2, "event": "x", "person.age": 3}}, {"plan", "event"}),
        ("events", {**WINDOW, "filter": {"group.company": "a", "group.company.seats": 3}}, set()),
        ("trends", {**WINDOW, "series": [{"event": "e"}], "breakdown": "cart.total"}, {"cart.total"}),
        ("trends", {**WINDOW, "series": [{"event": "e"}], "breakdown": "group.company"}, set()),
        (
            "trends",
            {
                **WINDOW,
                "series": [
                    {"event": "e", "measure": "sum", "property": "price"},
                    {"event": "e", "measure": "max", "property": "person.age", "filter": {"size": {"gt": 1}}},
                ],
            },
            {"price", "size"},
        ),
        (
            "retention",
            {**WINDOW, "born_event": "a", "return_event": "b", "born_filter": {"x": 1}, "return_filter": {"y": 1}},
            {"x", "y"},
        ),
        ("funnel", {**WINDOW, "steps": [{"event": "a", "filter": {"x": 1}}, {"event": "b"}], "breakdown": "z"}, {"x", "z"}),
        ("path", {**WINDOW, "start_event": "a", "filter": {"x": 1}}, {"x"}),
        ("path", {**WINDOW, "start_event": "a", "cohort": {"did": "b", **WINDOW, "filter": {"w": 1}}}, {"w"}),
        (
            "cohort",
            {"cohort": {"and": [{"did": "b", **WINDOW, "filter": {"w": 1}}, {"traits": {"person.age": 1}}]}},
            {"w"},
        ),
    ],
)  # fmt: skip
def test_the_properties_that_a_query_reads(kind: str, body: dict[str, Any], read: set[str]) -> None:
    assert properties_read(parse_query(kind, json.dumps(body).encode(), "p")[0]) == read
