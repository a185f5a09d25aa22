"""The kinds of queries: one row each. A body of a kind, sent alone or saved in a dashboard, becomes a typed query here."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.queries import QUERY_KINDS, QueryKind
from services.query.execution.executor import QueryExecutor
from services.query.insights.cohort import parse_cohort_query, run_cohort
from services.query.insights.events import parse_events, run_events
from services.query.insights.funnel import parse_funnel, run_funnel
from services.query.insights.path import parse_path, run_path
from services.query.insights.retention import parse_retention, run_retention
from services.query.insights.trends import parse_trends, run_trends
from services.query.request.decode import decode
from services.query.sql.parameters import Promoted

# A kind's typed query, and its result: each insight has its own types.
Spec = Any
Result = Any
Parse = Callable[[Any, str], Spec]
Run = Callable[[QueryExecutor, str, Any, Promoted], Awaitable[Result]]


class Insight(Struct, frozen=True):
    """One kind of query: what a body of it is, what turns that into a typed query, and what runs it.

    `parse(body, project_id)` raises ApiError; `run(executor, project_id, query, promoted)` raises ApiError, StoreError.
    """

    kind: QueryKind
    parse: Parse
    run: Run


_ROWS: dict[str, tuple[Parse, Run]] = {
    "events": (parse_events, run_events),
    "retention": (parse_retention, run_retention),
    "path": (parse_path, run_path),
    "funnel": (parse_funnel, run_funnel),
    "trends": (parse_trends, run_trends),
    "cohort": (parse_cohort_query, run_cohort),
}
INSIGHTS: dict[str, Insight] = {kind.name: Insight(kind, *_ROWS[kind.name]) for kind in QUERY_KINDS}


class _Typed(Struct):
    type: str


def parse_query(name: str, body: bytes, project_id: str) -> tuple[Spec, list[str]]:
    """`name` is one of INSIGHTS. The typed query and the warnings. Raises ApiError."""
    insight = INSIGHTS[name]
    query, warnings = decode(body, insight.kind.body)
    return insight.parse(query, project_id), warnings


def parse_saved_query(query: bytes, project_id: str) -> tuple[Spec, list[str]]:
    """A query of a dashboard: as `parse_query`, with its kind in `type`."""
    name = decode(query, _Typed, known=None)[0].type
    if name not in INSIGHTS:
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`type`: there is no `{name[:50]}`; use one of {', '.join(INSIGHTS)}.",
            field="type",
        )
    insight = INSIGHTS[name]
    parsed, warnings = decode(query, insight.kind.saved, known=("type",))
    return insight.parse(parsed, project_id), warnings


def takes_window(name: str) -> bool:
    """Whether queries of this kind have a time window of their own."""
    return "since" in INSIGHTS[name].kind.body.__struct_fields__
