"""The kinds of queries: one row each. A body of a kind, sent alone or saved in a dashboard, becomes a typed query here."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import Window
from services.contract.api.queries import QUERY_KINDS, QueryKind
from services.query.execution.executor import QueryExecutor
from services.query.insights.cohort import parse_cohort_query, run_cohort
from services.query.insights.events import parse_events, run_events
from services.query.insights.funnel import parse_funnel, run_funnel
from services.query.insights.path import parse_path, run_path
from services.query.insights.retention import parse_retention, run_retention
from services.query.insights.trends import parse_trends, run_trends
from services.query.request.decode import decode
from services.query.request.relative_windows import Absolute, absolute, at_any_time
from services.query.sql.parameters import Promoted
from services.runtime.clock import utc_now

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


class Asked(Struct, frozen=True):
    """A typed query of a kind. `window`: to be shown with its result; `before`: the query that it is compared with."""

    kind: str
    spec: Spec
    window: Window | None = None
    before: "Asked | None" = None


class _Typed(Struct):
    type: str


def decode_query(kind: str, body: bytes) -> tuple[Any, list[str]]:
    """`kind` is one of INSIGHTS. The body as its type, and the warnings. Raises ApiError."""
    return decode(body, INSIGHTS[kind].kind.body)


def decode_saved_query(query: bytes) -> tuple[str, Any, list[str]]:
    """A query of a dashboard: as `decode_query`, with its kind in `type`, which comes first."""
    kind = decode(query, _Typed, known=None)[0].type
    if kind not in INSIGHTS:
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`type`: there is no `{kind[:50]}`; use one of {', '.join(INSIGHTS)}.",
            field="type",
        )
    return kind, *decode(query, INSIGHTS[kind].kind.saved, known=("type",))


def asked(kind: str, query: Any, project_id: str, now: datetime) -> Asked:
    """What a decoded body asks at a moment. Raises ApiError."""
    return _asked(kind, absolute(query, now), project_id)


def _asked(kind: str, found: Absolute, project_id: str) -> Asked:
    before = None if found.before is None else _asked(kind, found.before, project_id)
    return Asked(kind, INSIGHTS[kind].parse(found.query, project_id), found.window, before)


def parse_query(kind: str, body: bytes, project_id: str) -> tuple[Spec, list[str]]:
    """The typed query of a body, as of now, and the warnings. Raises ApiError."""
    query, warnings = decode_query(kind, body)
    return asked(kind, query, project_id, utc_now()).spec, warnings


def parse_saved_query(query: bytes, project_id: str) -> tuple[Spec, list[str]]:
    """The same of a query of a dashboard. That nothing of its window has ended yet is no fault of it."""
    kind, decoded, warnings = decode_saved_query(query)
    return asked(kind, at_any_time(decoded), project_id, utc_now()).spec, warnings


def takes_window(name: str) -> bool:
    """Whether queries of this kind have a time window of their own."""
    return "since" in INSIGHTS[name].kind.body.__struct_fields__
