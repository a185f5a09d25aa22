"""The statements of each kind of query."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from services.contract.tables import EVENTS
from services.query.insights.cohort import cohort_sql
from services.query.insights.events import events_sql
from services.query.insights.funnel import funnel_sql, people_sql
from services.query.insights.path import path_sql
from services.query.insights.retention import retention_sql
from services.query.insights.trends import trend_sql
from services.query.sql.parameters import NONE_PROMOTED, Promoted

STATEMENTS: dict[str, list[Callable[[str, Any, Promoted], Any]]] = {
    "events": [partial(events_sql, times_of=None), partial(events_sql, times_of=EVENTS)],
    "cohort": [cohort_sql],
    "retention": [retention_sql],
    "path": [path_sql],
    "funnel": [funnel_sql, lambda project, query, promoted: people_sql(project, query, 1, promoted)],
    "trends": [lambda project, query, promoted: trend_sql(project, query, query.series[0], promoted)],
}


def statements(kind: str, project: str, query: Any, promoted: Promoted = NONE_PROMOTED) -> Iterator[str]:
    """Each statement of a query of that kind."""
    for statement in STATEMENTS[kind]:
        sql, parameters = statement(project, query, promoted)
        assert set(re.findall(r"\{(\w+):", sql)) <= set(parameters)
        yield str(sql)
