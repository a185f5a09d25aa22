"""Every query that counts, asked about the same thing and compared with the oracle."""

import dataclasses
from collections import Counter
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support import oracle, oracle_funnel, oracle_retention, oracle_trends
from tests.support.oracle import History
from tests.support.oracle_breakdown import line_text, lines
from tests.support.query_client import QueryClient


def check_all_counts(
    client: QueryClient,
    key: str,
    about: History,
    window: tuple[datetime, datetime],
    zone: str,
    events: tuple[str, str],
    options: dict[str, Any],
    breakdown: str | None = None,
) -> None:
    """Asked with `options` (a filter, a cohort, groups), each answer is that of the oracle on `about`, the history that these
    leave. All of them count the same people with the first event."""
    (since, until), (one, other) = window, events
    asked = {"since": since.isoformat(), "until": until.isoformat(), "timezone": zone, **options}
    broken = {**asked, "breakdown": breakdown}
    began = {about.person(event) for event in about.within(since, until) if event.event == one}

    retention = client.ask("/query/retention", key, {**broken, "born_event": one, "return_event": other})
    matrix, of_lines = oracle_retention.retention(
        about, one, other, since, until, "day", ZoneInfo(zone), breakdown=breakdown
    )
    assert retention["matrix"] == matrix
    assert sum(row[0] for row in matrix) == len(began)

    for direction in ("after", "before"):
        path = client.ask("/query/path", key, {**asked, "start_event": one, "direction": direction})
        path["event"] = path.pop("root")
        assert path == dataclasses.asdict(oracle.path(about, one, since, until, direction=direction))
        assert path["count"] == len(began)

    steps: list[oracle_funnel.Step] = [(one, {}), (other, {})]
    sent = [{"event": event} for event, _ in steps]
    funnel = client.ask("/query/funnel", key, {**broken, "steps": sent, "people_of_step": 1})
    runs = oracle_funnel.runs(about, steps, since, until, "ordered", None, breakdown)
    assert [step["people"] for step in funnel["steps"]] == [len(runs), sum(len(run.at) > 1 for run in runs)]
    assert funnel["listed"]["people"] == sorted(began, key=str.encode)

    series = [{"event": one, "measure": "people"}, {"event": other, "measure": "per_person"}]
    trends = client.ask("/query/trends", key, {**broken, "series": series, "interval": "week"})
    for of, answered in zip(series, trends["series"], strict=True):
        expected = oracle_trends.trend(about, of, since, until, "week", ZoneInfo(zone), breakdown)
        found = [line["values"] for line in answered["lines"]]
        assert found == [pytest.approx(numbers) for numbers in expected.values()]
        if breakdown is not None:
            assert [line_text(line) for line in answered["lines"]] == list(expected)

    if breakdown is not None:
        assert {line_text(line): line["matrix"] for line in retention["breakdown"]} == of_lines
        of_first_step = {line_text(line): line["steps"][0]["people"] for line in funnel["breakdown"]}
        line_of = lines(Counter(run.value for run in runs), 10)
        assert of_first_step == Counter(line_of[run.value] for run in runs)
