"""Promoted properties: names of columns, what the columns hold, and which queries read them."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from services.operations.properties import PropertyError, demote, promote
from services.query.insights.registry import parse_query
from services.query.sql.parameters import Parameters
from services.query.sql.properties import column_definition, column_name, is_promotable, promoted_keys, property_text
from services.runtime.clickhouse import ClickHouse, Settings
from services.runtime.clickhouse import Parameters as Values
from services.runtime.settings import ClickHouseSettings
from tests.unit.query.statements import statements

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
KEYS = ["plan", "device.os", "$current_url", "a-b", "a_b", "A.b", "a..b", ".", "0"]
# Every way to speak of a property: a filter, a step's filter, a cohort's, a breakdown, a measure.
FILTER = {"plan": "pro", "device.os": {"exists": True}}
STEP = {"event": "a", "filter": FILTER}
QUERIES: list[tuple[str, dict[str, Any]]] = [
    ("events", {"filter": FILTER}),
    ("events", {"cohort": {"did": "a", **WINDOW, "filter": FILTER}}),
    ("cohort", {"cohort": {"did": "a", **WINDOW, "filter": FILTER}}),
    ("path", {"start_event": "a", "filter": FILTER}),
    ("retention", {"born_event": "a", "return_event": "b", "filter": FILTER}),
    ("retention", {"born_event": "a", "return_event": "b", "breakdown": "plan"}),
    ("funnel", {"steps": [{"event": "a"}, STEP], "breakdown": "device.os"}),
    ("funnel", {"steps": [{"event": "a"}, {"event": "b"}], "filter": FILTER}),
    ("trends", {"series": [{**STEP, "measure": "sum", "property": "plan"}], "breakdown": "device.os"}),
    ("trends", {"series": [{"event": "a"}], "filter": FILTER, "breakdown": "plan"}),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_column_is_named_after_its_key_alone(key: str) -> None:
    assert promoted_keys(["properties", column_name(key), "event"]) == {key}
    assert len({column_name(key) for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize(
    "key", ["", "a b", "a`b", "a'b", 'a"b', "a\\b", "a/b", "a\n", "{a:String}", "schlüssel", "x" * 65]
)
async def test_a_key_that_could_be_more_than_a_name_is_refused(key: str) -> None:
    store = RecordingStore()
    assert promoted_keys([column_name(key)]) != {key}
    assert not is_promotable(key)
    with pytest.raises(PropertyError, match="only keys of 1 to 64"):
        await promote(store, "", key, new_only=True)
    assert store.sent == []


@pytest.mark.parametrize("key", ["event", "person_id", "person.plan", "group.company"])
async def test_a_key_that_no_question_reads_from_events_is_refused(key: str) -> None:
    store = RecordingStore()
    with pytest.raises(PropertyError, match="read something else"):
        await promote(store, "", key, new_only=True)
    assert store.sent == []


@pytest.mark.parametrize("key", KEYS)
def test_a_column_holds_what_questions_would_read(key: str) -> None:
    parameters = Parameters()
    sql = property_text("properties", key, parameters)
    for name, value in parameters.values.items():
        sql = sql.replace(f"{{{name}:String}}", f"'{value}'")
    named = re.search(r"length\(\((.*) AS f_1\)\) >= ", sql)
    assert named
    assert column_definition(key) == sql.replace(f"({named[1]} AS f_1)", "f_1").replace("f_1", named[1])


@pytest.mark.parametrize(("kind", "body"), QUERIES)
def test_questions_read_the_columns(kind: str, body: dict[str, Any]) -> None:
    window = {} if kind == "cohort" else WINDOW
    query, _ = parse_query(kind, json.dumps({**window, **body}).encode(), "p")
    both = frozenset({"plan", "device.os"})
    for sql in statements(kind, "p", query, both):
        assert "e.`property_plan`" in sql or "e.`property_device/os`" in sql
        assert "JSONExtractRaw(" not in sql
    for sql in statements(kind, "p", query, frozenset({"plan.os", "Plan"})):
        # Retention and funnels look at births and starts alone.
        assert re.search(r"JSONExtractRaw\((if\((is_born|bitTest\(mask, 0\)), )?e\.properties", sql)
        assert "`" not in sql


def test_traits_are_no_properties_of_events() -> None:
    body = {**WINDOW, "filter": {"person.plan": "pro", "group.company.plan": "pro"}}
    query, _ = parse_query("events", json.dumps(body).encode(), "p")
    promoted = frozenset({"plan", "person.plan", "company.plan"})
    for sql in statements("events", "p", query, promoted):
        assert "JSONExtractRaw(e.traits" in sql
        assert "`" not in sql


class RecordingStore(ClickHouse):
    """Notes statements; its table has the column of `plan`."""

    def __init__(self) -> None:
        super().__init__(ClickHouseSettings())
        self.sent: list[str] = []

    async def command(self, sql: str, parameters: Values | None = None, settings: Settings | None = None) -> None:
        self.sent.append(sql)

    async def rows(
        self, sql: str, parameters: Values | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        return [("property_plan",)]


async def test_statements_go_to_the_whole_cluster() -> None:
    store = RecordingStore()
    await promote(store, "shop", "plan", new_only=False)
    await demote(store, "shop", "plan")
    # Where a column is asked for it must be there: the shards get it before the table that shows them, and lose it after.
    assert store.sent == [
        "ALTER TABLE events_local ON CLUSTER 'shop' ADD COLUMN IF NOT EXISTS `property_plan` "
        f"String MATERIALIZED {column_definition('plan')}",
        "ALTER TABLE events ON CLUSTER 'shop' ADD COLUMN IF NOT EXISTS `property_plan` "
        f"String MATERIALIZED {column_definition('plan')}",
        "ALTER TABLE events_local ON CLUSTER 'shop' MATERIALIZE COLUMN `property_plan`",
        "KILL MUTATION ON CLUSTER 'shop' WHERE database = 'headrace' AND NOT is_done AND table = 'events_local' "
        "AND trim(BOTH '()' FROM replaceAll(command, '`', '')) = 'MATERIALIZE COLUMN property_plan'",
        "ALTER TABLE events ON CLUSTER 'shop' DROP COLUMN IF EXISTS `property_plan`",
        "ALTER TABLE events_local ON CLUSTER 'shop' DROP COLUMN IF EXISTS `property_plan`",
    ]
