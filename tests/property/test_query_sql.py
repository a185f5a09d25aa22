"""Nothing that a client sends becomes SQL: every value travels beside it, as a parameter."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.query.events import events_sql
from services.query.parse import parse_events, parse_path, parse_retention
from services.query.path import names_sql, path_sql
from services.query.retention import retention_sql

# A word that is in no SQL of ours, so that finding it means that it was put there.
texts = st.text(min_size=1, max_size=10).map(lambda s: f"zqx{s}".replace("\0", ""))
values = st.one_of(texts, st.lists(texts, max_size=3), st.fixed_dictionaries({"contains": texts}))
ordinary = {"since": "2024-01-01", "until": "2024-01-08"}


def statement(question: Any) -> str:
    sql, parameters = question
    assert set(re.findall(r"\{(\w+):", sql)) <= set(parameters)
    return str(sql)


@given(st.dictionaries(texts, values, max_size=5), texts, texts, texts)
def test_no_text_of_a_client_is_in_the_sql(filters: dict[str, Any], project: str, one: str, other: str) -> None:
    events, _ = parse_events(json.dumps({**ordinary, "filter": {**filters, "event": [one]}}).encode(), project)
    retention, _ = parse_retention(json.dumps({**ordinary, "born_event": one, "return_event": other}).encode())
    path, _ = parse_path(
        json.dumps({**ordinary, "start_event": one, "end_event": other, "session_gap_seconds": 60}).encode()
    )
    for question in (
        events_sql(project, events),
        retention_sql(project, retention),
        path_sql(project, path),
        names_sql(project, path),
    ):
        assert "zqx" not in statement(question)
