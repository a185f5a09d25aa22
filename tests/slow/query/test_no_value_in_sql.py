"""Nothing that a client sends becomes SQL: every value travels beside it, as a parameter."""

import json
import re
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from services.query.insights.events import event_sql, live_sql
from services.query.insights.registry import INSIGHTS, Asked, parse_query
from services.query.persons.people import SentPeople, decode_people, parse_people
from services.query.persons.people import people_sql as people_of_number
from services.query.request.filters import parse_filter
from services.query.sql.parameters import NONE_PROMOTED
from tests.unit.query.statements import STATEMENTS, statements

# A word that is in no SQL of ours, so that finding it means that it was put there.
texts = st.text(min_size=1, max_size=10).map(lambda s: f"zqx{s}".replace("\0", ""))
values = st.one_of(texts, st.lists(texts, max_size=3), st.fixed_dictionaries({"contains": texts}))
ordinary = {"since": "2024-01-01", "until": "2024-01-08"}

# Numbers whose people are asked for: MARKED stands for a word. A line needs a breakdown, which not all bodies have.
CELLS: dict[str, list[dict[str, Any]]] = {
    "events": [],
    "cohort": [{}],
    "retention": [{}, {"offset": 1}],
    "funnel": [{"step": 2}, {"part": "drop_off"}],
    "trends": [{"bucket": 1}],
    "path": [{"node": ["MARKED"], "part": part} for part in ("count", "drop_off", "continued", "other")],
}


def test_each_kind_of_query_has_its_statements_here() -> None:
    assert set(STATEMENTS) == set(INSIGHTS)


@given(st.dictionaries(texts, values, max_size=5), texts, texts, texts)
def test_no_text_of_a_client_is_in_the_sql(filters: dict[str, Any], project: str, one: str, other: str) -> None:
    traits = {f"person.{one}.{other}": one, f"group.{one}": {"ne": other}, f"group.{other}.{one}": [one]}
    cohort = {
        "or": [
            {"did": one, **ordinary, "at_least": 2, "filter": {**filters, f"person.{other}": one}},
            {"not": {"traits": traits}},
        ]
    }
    bodies: dict[str, dict[str, Any]] = {
        "events": {"filter": {**filters, **traits, "event": [one]}},
        "retention": {"born_event": one, "return_event": other, "filter": {**filters, **traits}, "aggregate_by": one},
        "cohort": {"cohort": cohort},
        "path": {
            "start_event": one,
            "end_event": other,
            "cohort": cohort,
            "session_gap_seconds": 60,
            "aggregate_by": other,
        },
    }
    step = {"event": one, "filter": filters}
    options = {"first_time": True, "min_occurrences": 2, "mode": "on_or_after", "breakdown": other}
    bodies["retention with options"] = {"born_event": one, "return_event": other, **options}
    for order in ("ordered", "strict", "any"):
        funnel = {"steps": [step, {"event": other}, step], "order": order, "breakdown": one, "filter": filters}
        bodies[f"funnel {order}"] = funnel
    for measure in ("count", "per_person", "sum", "percentile"):
        numeric = {"property": other} if measure in ("sum", "percentile") else {}
        series = [{**step, **numeric, "measure": measure}]
        bodies[f"trends {measure}"] = {"series": series, "breakdown": one, "filter": filters}
    # A group's type has no dot.
    by_group = {"breakdown": f"group.{one.replace('.', '')}"}
    bodies["retention by group"] = {**bodies["retention"], **by_group}
    bodies["funnel by group"] = {**bodies["funnel any"], **by_group}
    bodies["trends by group"] = {**bodies["trends count"], **by_group}
    bodies["path backwards"] = {**bodies["path"], "direction": "before"}
    assert {name.partition(" ")[0] for name in bodies} == set(INSIGHTS), "each kind needs a body with marked words"
    assert set(CELLS) == set(INSIGHTS)
    for name, body in bodies.items():
        kind = name.partition(" ")[0]
        query, _ = parse_query(kind, json.dumps({**ordinary, **body}).encode(), project)
        for sql in statements(kind, project, query):
            assert "zqx" not in sql
        for cell in CELLS[kind]:
            marked = json.dumps(cell).replace("MARKED", f"zqx {len(one)}")
            found = Asked(kind, query)
            people = parse_people(sent_people(marked), found, None, project)
            sql, parameters = people_of_number(project, people, NONE_PROMOTED)
            assert set(re.findall(r"\{(\w+):", sql)) <= {*parameters, "project"}
            assert "zqx" not in sql


@given(st.dictionaries(texts, values, max_size=5), texts)
def test_nor_in_those_of_single_things(filters: dict[str, Any], project: str) -> None:
    conditions = parse_filter(Raw(json.dumps({**filters, "person.x": project}).encode()))
    sql, parameters = live_sql(project, 0, conditions, 1, NONE_PROMOTED)
    assert set(re.findall(r"\{(\w+):", sql)) <= set(parameters)
    assert "zqx" not in sql
    assert "zqx" not in event_sql(project, UUID(int=1), None)[0]


def sent_people(cell: str) -> SentPeople:
    return decode_people(f'{{"query": {{}}, "cell": {cell}}}'.encode())[0]
