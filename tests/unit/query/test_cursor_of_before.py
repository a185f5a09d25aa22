"""Cursors that 0.1.0 has given out are taken: during a rolling upgrade, and after it."""

import json
from typing import Any

import pytest

from services.query.insights.registry import parse_query

COHORT = {
    "and": [
        {"did": "pay", "since": "2026-01-01", "until": "2026-02-01", "at_least": 2},
        {"not": {"traits": {"person.plan": "pro"}}},
    ]
}
OF_0_1_0: dict[str, tuple[dict[str, Any], str, int]] = {
    "events": (
        {
            "since": "2026-11-01",
            "until": "2026-12-01",
            "limit": 2,
            "filter": {"event": "a", "amount": {"gte": 3}},
            "cohort": COHORT,
        },
        "AAZfoiy6IAAAAQIDBAUGBwgJCgsMDQ4PjW0geMbqz5Q",
        1_794_000_000_000_000,
    ),
    "cohort": ({"cohort": COHORT}, "AAAAAAAAAAAAAQIDBAUGBwgJCgsMDQ4PExXA4W1TH0Q", 0),
}


@pytest.mark.parametrize("kind", OF_0_1_0)
def test_a_cursor_of_0_1_0_is_taken(kind: str) -> None:
    body, cursor, time_us = OF_0_1_0[kind]
    spec: Any = parse_query(kind, json.dumps({**body, "cursor": cursor}).encode(), "shop")[0]
    assert (spec.after.time_us, spec.after.id) == (time_us, bytes(range(16)))
