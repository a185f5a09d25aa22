"""A real clickstream in through HTTP, and right answers out: the whole pipeline, on each broker that is there."""

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.devstack.clickstream import EVENT_COUNT, batches, clickstream
from tests.support import oracle
from tests.support.pipeline import Pipeline, eventually

SINCE, UNTIL = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
WINDOW = {"since": "2024-01-01T00:00:00Z", "until": "2024-12-31T00:00:00Z"}


@pytest.fixture(scope="module")
def sent_twice(pipeline: Pipeline) -> Pipeline:
    """The clickstream, sent twice under the same keys, the second time in other batches and in reverse."""
    for batch in batches():
        assert pipeline.ask("/batch", {"events": batch}) == {"ok": True, "accepted": len(batch)}
    for batch in batches(size=777):
        assert pipeline.ask("/batch", {"events": batch[::-1]}) == {"ok": True, "accepted": len(batch)}
    marker = {"event": "all_sent", "distinct_id": "marker", "timestamp": "2024-12-30T00:00:00Z"}
    assert pipeline.ask("/track", marker) == {"ok": True, "accepted": 1}
    eventually(lambda: pipeline.walk({**WINDOW, "filter": {"event": "all_sent"}}), lambda found: len(found) == 1)
    eventually(lambda: len(stored_events(pipeline)), lambda count: count >= EVENT_COUNT)
    return pipeline


def stored_events(pipeline: Pipeline) -> list[dict[str, Any]]:
    return pipeline.walk({**WINDOW, "filter": {"event": {"ne": "all_sent"}}})


def test_every_event_is_stored_once(sent_twice: Pipeline) -> None:
    stored = stored_events(sent_twice)
    keys = Counter(event["idempotency_key"] for event in stored)
    assert len(stored) == EVENT_COUNT
    assert set(keys) == {f"ecom-{i}" for i in range(EVENT_COUNT)}
    assert max(keys.values()) == 1


def test_events_come_back_as_they_were_sent(sent_twice: Pipeline) -> None:
    stored = {event["idempotency_key"]: event for event in stored_events(sent_twice)}
    for sent in clickstream():
        found = stored[sent["idempotency_key"]]
        assert {name: found[name] for name in sent} == sent


def history_of(pipeline: Pipeline) -> oracle.History:
    """What is stored, for the oracle: receive times and ids of events are the pipeline's own, and break ties of time."""
    return oracle.History(
        [
            oracle.Event(
                e["event_id"],
                e["event"],
                e["distinct_id"],
                datetime.fromisoformat(e["timestamp"]),
                received=datetime.fromisoformat(e["received_at"]),
            )
            for e in stored_events(pipeline)
        ]
    )


def test_weekly_retention_is_the_oracle_s(sent_twice: Pipeline) -> None:
    window = {"since": "2024-01-01T00:00:00Z", "until": "2024-07-01T00:00:00Z"}
    answer = sent_twice.ask(
        "/query/retention", {"born_event": "home", "return_event": "purchase", "interval": "week", **window}
    )
    expected = oracle.retention(history_of(sent_twice), "home", "purchase", SINCE, UNTIL, "week", ZoneInfo("UTC"))
    assert answer["matrix"] == expected
    assert sum(row[0] for row in expected) > 0
    assert sum(sum(row[1:]) for row in expected) > 0


def test_path_tree_is_the_oracle_s(sent_twice: Pipeline) -> None:
    answer = sent_twice.ask(
        "/query/path",
        {
            "start_event": "product_view",
            "since": SINCE.isoformat(),
            "until": UNTIL.isoformat(),
            "max_depth": 4,
            "top": 5,
        },
    )
    tree = oracle.path(history_of(sent_twice), "product_view", SINCE, UNTIL, max_depth=4, top=5)
    assert answer.pop("root") == "product_view"
    assert answer == {name: value for name, value in asdict(tree).items() if name != "event"}
    assert answer["count"] > 100
