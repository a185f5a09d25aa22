"""The SQL of each body is the one that its speed was measured with: a body that says nothing new is asked as before.

`sql_of_bodies.json` holds it. Where SQL changes on purpose: `python -m tests.unit.query.test_sql_of_bodies` writes it again,
and the change shows what else it touches.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from services.query.insights import funnel, path
from services.query.insights.registry import parse_query
from services.query.sql.events import KEPT, with_border
from tests.unit.query.statements import statements

_FILE = Path(__file__).with_suffix(".json").with_name("sql_of_bodies.json")
WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}
_FILTER = {"amount": {"gte": 10}, "plan": ["pro", "team"]}
_COHORT = {"and": [{"did": "pay", **WINDOW, "at_least": 2}, {"not": {"traits": {"person.plan": "pro"}}}]}
_STEPS = [{"event": "view"}, {"event": "cart", "filter": _FILTER}, {"event": "pay"}]
# How many bits a receipt needs follows from the clock.
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODIES: dict[str, dict[str, Any]] = {
    "events": {},
    "events desc": {"order": "desc", "filter": {"event": "pay", **_FILTER, "person.plan": "pro"}},
    "events of a cohort": {"cohort": _COHORT},
    "retention": {"born_event": "view", "return_event": "pay"},
    "retention of one": {"born_event": "view", "return_event": "view", "interval": "month", "first_time": True},
    "retention broken down": {
        **{"born_event": "view", "return_event": "pay", "breakdown": "plan", "born_filter": _FILTER},
        **{"min_occurrences": 2, "mode": "on_or_after", "aggregate_by": "company"},
    },
    "path": {"start_event": "view"},
    "path before": {
        **{"start_event": "pay", "direction": "before", "session_gap_seconds": 1800, "collapse_repeats": True},
        **{"end_event": "view", "filter": _FILTER, "cohort": _COHORT},
    },
    "funnel": {"steps": _STEPS},
    "funnel strict": {"steps": _STEPS, "order": "strict", "conversion_window_seconds": 3600},
    "funnel any": {"steps": [*_STEPS, {"event": "view"}], "order": "any", "breakdown": "group.company"},
    "funnel of one name": {"steps": [{"event": "view"}, {"event": "view"}], "breakdown": "plan"},
    "trends": {"series": [{"event": "view"}]},
    "trends of people": {"series": [{"event": "view", "measure": "people", "filter": _FILTER}], "breakdown": "plan"},
    "trends of sums": {
        "series": [{"event": "pay", "measure": "sum", "property": "amount"}],
        **{"interval": "week", "aggregate_by": "company", "breakdown": "group.company"},
    },
    "cohort": {"cohort": _COHORT},
}


def sql_of(name: str) -> list[str]:
    kind = name.partition(" ")[0]
    body = BODIES[name] if kind == "cohort" else {**WINDOW, **BODIES[name]}
    with patch.object(funnel, "utc_now", lambda: _NOW), patch.object(path, "utc_now", lambda: _NOW):
        query, _ = parse_query(kind, json.dumps(body).encode(), "project")
        # Of a project whose events are all kept, as most are.
        return [with_border(sql, {}, 0)[0] for sql in statements(kind, "project", query)]


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_asked_as_before(name: str) -> None:
    assert sql_of(name) == json.loads(_FILE.read_text())[name]


@pytest.mark.parametrize("name", BODIES)
def test_a_border_is_asked_for_where_there_is_one(name: str) -> None:
    kind = name.partition(" ")[0]
    body = BODIES[name] if kind == "cohort" else {**WINDOW, **BODIES[name]}
    query, _ = parse_query(kind, json.dumps(body).encode(), "project")
    for sql in statements(kind, "project", query):
        places = sql.count("e.timestamp < fromUnixTimestamp64Micro({")
        whole, parameters = with_border(sql, {"project": "project"}, 0)
        assert "kept" not in whole
        assert parameters == {"project": "project"}
        bounded, parameters = with_border(sql, {"project": "project"}, 1_700_000_000_000_000)
        assert parameters == {"project": "project", "kept_since": 1_700_000_000_000_000}
        assert 0 < sql.count(KEPT) == bounded.count("{kept_since:Int64}") <= places + 1


if __name__ == "__main__":
    _FILE.write_text(json.dumps({name: sql_of(name) for name in BODIES}, indent=1) + "\n")
