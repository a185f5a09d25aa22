"""Funnels equal the brute-force oracle on random histories, in every order, with and without a breakdown."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.runtime.settings import ClickHouseSettings
from tests.support import oracle_breakdown, oracle_funnel
from tests.support.examples import examples
from tests.support.histories import NAMES, ODD_MOMENTS, PROPERTY_KEYS, dense_histories, histories, store, wide_windows
from tests.support.oracle import History
from tests.support.oracle_funnel import Run
from tests.support.query_client import QueryClient

_examples = examples(25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
zones = st.sampled_from(sorted(ODD_MOMENTS))
filters: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.dictionaries(st.sampled_from(["a", "b", "n"]), st.fixed_dictionaries({"exists": st.booleans()}), max_size=1),
    st.sampled_from([{"a": ["pro", 1, True]}, {"n": {"ne": 1}}, {"person_id": ["u1", "u2", "someone"]}]),
)
# Few names, so that events compete for steps and steps for events.
steps = st.lists(st.tuples(st.sampled_from(NAMES[:2]), filters), min_size=2, max_size=4)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseSettings) -> Iterator[QueryClient]:
    with QueryClient.for_examples(clickhouse) as client:
        yield client


def waits(history: History) -> list[int]:
    """Between events of the history, in seconds: as a conversion window, each is just kept."""
    times = sorted({e.time for e in history.events})
    lengths = {(b - a).total_seconds() for i, a in enumerate(times) for b in times[i + 1 :]}
    return sorted({1, *(int(length) for length in lengths if length >= 1)})


def lengths(found: list[Run]) -> list[int]:
    """Of whole funnels, in seconds: as a conversion window, each just keeps its last step."""
    return sorted({1, *(int((run.at[-1] - run.at[0]).total_seconds()) for run in found)} - {0})


@_examples
@given(st.data())
def test_a_funnel_is_that_of_the_oracle(
    client: QueryClient, clickhouse: ClickHouseSettings, data: st.DataObject
) -> None:
    zone = data.draw(zones)
    history = data.draw(st.one_of(dense_histories(zone), histories(zone)))
    foreign = data.draw(histories(zone, max_events=5))
    (project, key), (other, _) = next(client.projects), next(client.projects)
    store(clickhouse, {project: history, other: foreign}, repeats=10)
    for order in ("ordered", "strict", "any"):
        since, until = data.draw(wide_windows(zone))
        asked = data.draw(steps)
        unlimited = oracle_funnel.runs(history, asked, since, until, order, None, None)
        within = data.draw(st.one_of(st.none(), st.sampled_from(waits(history)), st.sampled_from(lengths(unlimited))))
        breakdown = data.draw(st.one_of(st.none(), st.sampled_from([key for key in PROPERTY_KEYS if key])))
        top, listed = data.draw(st.integers(1, 4)), data.draw(st.integers(1, len(asked)))
        answer = client.ask(
            "/query/funnel",
            key,
            {
                **{"since": since.isoformat(), "until": until.isoformat(), "order": order, "top": top},
                "steps": [{"event": event, "filter": conditions} for event, conditions in asked],
                **{"conversion_window_seconds": within, "breakdown": breakdown, "people_of_step": listed},
            },
        )
        found = oracle_funnel.runs(history, asked, since, until, order, within, breakdown)
        check_steps(answer["steps"], found)
        assert answer["listed"]["people"] == sorted(
            (run.person for run in found if len(run.at) >= listed), key=str.encode
        )
        if breakdown is not None:
            check_breakdown(answer["breakdown"], found, top)


def check_steps(steps: list[dict[str, Any]], found: list[Run]) -> None:
    before = None
    for step, (people, median, p90) in zip(steps, oracle_funnel.figures(found, len(steps)), strict=True):
        assert (step["people"], step["median_seconds"], step["p90_seconds"]) == (
            people,
            pytest.approx(median),
            pytest.approx(p90),
        )
        if before is not None:
            assert before["drop_off"] == before["people"] - people
            share = people / before["people"] if before["people"] else None
            assert step["conversion_from_before"] == pytest.approx(share)
        before = step
    assert steps[-1]["drop_off"] == 0
    shares = [step["conversion_from_start"] for step in steps]
    assert shares == [pytest.approx(s["people"] / len(found)) if found else None for s in steps]


def check_breakdown(lines: list[dict[str, Any]], found: list[Run], top: int) -> None:
    line_of = oracle_breakdown.lines(Counter(run.value for run in found), top)
    assert [oracle_breakdown.line_text(line) for line in lines] == list(dict.fromkeys(line_of.values()))
    for line in lines:
        text = oracle_breakdown.line_text(line)
        check_steps(line["steps"], [run for run in found if line_of[run.value] == text])
