"""A request body -> a typed question, or an ApiError that names the field and what was expected. Pure.

Fields that no question knows are left out and named in warnings.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.funnel import FunnelQuery, FunnelStep
from services.contract.api.ingest import IdempotencyKey
from services.contract.api.trends import TrendSeries, TrendsQuery
from services.contract.api.validation import invalid_json, invalid_message
from services.contract.dashboard_run import DashboardRun
from services.contract.people import MAX_PAGE_PEOPLE, CohortQuery, SavedCohort
from services.contract.questions import (
    MAX_DASHBOARD_QUERIES,
    DashboardDelete,
    DashboardName,
    EventsQuery,
    PathQuery,
    RetentionQuery,
    SavedEvents,
    SavedFunnel,
    SavedPath,
    SavedRetention,
    SavedTrends,
)
from services.query.insights.cohort import CohortQuestion, cohort_identity
from services.query.insights.events import EventsQuestion
from services.query.insights.funnel import FunnelQuestion, check_funnel
from services.query.insights.path import PathQuestion
from services.query.insights.retention import RetentionQuestion, check_retention
from services.query.insights.trends import TrendsQuestion, series_of
from services.query.request.cohorts import parse_cohort, unknown_fields
from services.query.request.cursor import read_cursor
from services.query.request.filters import parse_filter
from services.query.request.time_buckets import period_starts
from services.query.request.time_window import parse_window
from services.query.sql.breakdown import parse_breakdown
from services.query.sql.event_filter import parse_selections
from services.query.sql.segment import parse_scope

_MAX_WARNINGS = 20
_DEFAULT_EVENTS, _DEFAULT_DEPTH, _DEFAULT_TOP = 1000, 5, 10

T = TypeVar("T", bound=Struct)
Question = EventsQuestion | RetentionQuestion | PathQuestion | FunnelQuestion | TrendsQuestion | CohortQuestion
# Objects inside a body, in lists: their unknown fields are named in warnings too.
_LISTED: dict[str, type[Struct]] = {"steps": FunnelStep, "series": TrendSeries}


class NewDashboard(Struct, frozen=True):
    """`queries` are valid, and as they were sent."""

    name: str
    queries: list[Raw]
    idempotency_key: str | None


class _DashboardCreate(Struct):
    name: DashboardName
    queries: list[Raw]
    idempotency_key: IdempotencyKey | None = None


class _Typed(Struct):
    type: str


class _Kind(Struct, frozen=True):
    """A kind of question: its body, its form in a dashboard, and what turns either into the question."""

    body: type[Struct]
    saved: type[Struct]
    question: Callable[[Any, str], Question]


def parse_question(kind: str, body: bytes, project_id: str) -> tuple[Question, list[str]]:
    """`kind` is one of KINDS. The question and the warnings."""
    query, warnings = decode(body, KINDS[kind].body)
    return KINDS[kind].question(query, project_id), warnings


def parse_dashboard(body: bytes, project_id: str) -> tuple[NewDashboard, list[str]]:
    created, warnings = decode(body, _DashboardCreate)
    refuse_nul(created.name, "name")
    if len(created.queries) > MAX_DASHBOARD_QUERIES:
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`queries`: {len(created.queries)} of them; a dashboard holds at most {MAX_DASHBOARD_QUERIES}.",
            field="queries",
        )
    for i, query in enumerate(created.queries):
        place = f"queries[{i}]"
        try:
            unknown = check_saved_query(bytes(query), project_id)
        except ApiError as error:
            raise error.within(place) from error
        warnings += [f"{place}: {warning}" for warning in unknown]
    return NewDashboard(created.name, created.queries, created.idempotency_key), warnings[:_MAX_WARNINGS]


def parse_delete(body: bytes) -> list[str]:
    """The warnings; nothing else of the body matters."""
    return decode(body, DashboardDelete)[1] if body.strip() else []


def parse_run(body: bytes) -> tuple[DashboardRun, list[str]]:
    """No body is no override."""
    return decode(body, DashboardRun) if body.strip() else (DashboardRun(), [])


def takes_window(kind: str) -> bool:
    """Whether questions of this kind have a window of their own."""
    return "since" in KINDS[kind].body.__struct_fields__


def check_saved_query(query: bytes, project_id: str) -> list[str]:
    """Raises ApiError for a query that could not be asked; the warnings about one that could."""
    return parse_saved_query(query, project_id)[1]


def parse_saved_query(query: bytes, project_id: str) -> tuple[Question, list[str]]:
    """The question and the warnings. Raises ApiError for a query that could not be asked."""
    kind = decode(query, _Typed, known=None)[0].type
    if kind not in KINDS:
        raise ApiError(
            ErrorCode.INVALID_FIELD, f"`type`: there is no `{kind[:50]}`; use one of {', '.join(KINDS)}.", field="type"
        )
    parsed, warnings = decode(query, KINDS[kind].saved, known=("type",))
    return KINDS[kind].question(parsed, project_id), warnings


def _events(query: EventsQuery, project_id: str) -> EventsQuestion:
    window = parse_window(query.since, query.until, query.timezone)
    conditions, descending = parse_filter(query.filter), query.order == "desc"
    cohort = None if query.cohort is None else parse_cohort(query.cohort)
    question = EventsQuestion(window, conditions, query.limit or _DEFAULT_EVENTS, descending, None, cohort)
    if query.cursor is None:
        return question
    return msgspec.structs.replace(question, after=read_cursor(query.cursor, question.identity(project_id)))


def _cohort(query: CohortQuery, project_id: str) -> CohortQuestion:
    rule = parse_cohort(query.cohort)
    after = None if query.cursor is None else read_cursor(query.cursor, cohort_identity(project_id, rule))
    return CohortQuestion(rule, query.limit or MAX_PAGE_PEOPLE, after)


def _retention(query: RetentionQuery, project_id: str) -> RetentionQuestion:
    refuse_nul(query.born_event, "born_event")
    refuse_nul(query.return_event, "return_event")
    window = parse_window(query.since, query.until, query.timezone)
    scope = parse_scope(query)
    interval = query.interval or "day"
    question = RetentionQuestion(
        born_event=query.born_event,
        return_event=query.return_event,
        window=window,
        interval=interval,
        starts=period_starts(window, interval, sundays=query.week_start == "sunday"),
        scope=scope,
        on_or_after=query.mode == "on_or_after",
        first_time=bool(query.first_time),
        min_occurrences=query.min_occurrences or 1,
        breakdown=parse_breakdown(query.breakdown, query.top),
    )
    check_retention(question)
    return question


def _path(query: PathQuery, project_id: str) -> PathQuestion:
    refuse_nul(query.start_event, "start_event")
    refuse_nul(query.end_event, "end_event")
    return PathQuestion(
        start_event=query.start_event,
        window=parse_window(query.since, query.until, query.timezone),
        max_depth=query.max_depth or _DEFAULT_DEPTH,
        top=query.top or _DEFAULT_TOP,
        collapse_repeats=bool(query.collapse_repeats),
        session_gap_s=query.session_gap_seconds,
        end_event=query.end_event,
        scope=parse_scope(query),
        before=query.direction == "before",
    )


def _funnel(query: FunnelQuery, project_id: str) -> FunnelQuestion:
    question = FunnelQuestion(
        steps=parse_selections([(step.event, step.filter) for step in query.steps], "steps"),
        window=parse_window(query.since, query.until, query.timezone),
        order=query.order or "ordered",
        conversion_s=query.conversion_window_seconds,
        breakdown=parse_breakdown(query.breakdown, query.top),
        people_of_step=query.people_of_step,
        scope=parse_scope(query),
    )
    check_funnel(question)
    return question


def _trends(query: TrendsQuery, project_id: str) -> TrendsQuestion:
    selections = parse_selections([(series.event, series.filter) for series in query.series], "series")
    window, interval = parse_window(query.since, query.until, query.timezone), query.interval or "day"
    return TrendsQuestion(
        series=[
            series_of(selection, sent.measure or "count", sent.property, sent.percentile, i)
            for i, (selection, sent) in enumerate(zip(selections, query.series, strict=True))
        ],
        window=window,
        interval=interval,
        starts=period_starts(window, interval, sundays=query.week_start == "sunday"),
        breakdown=parse_breakdown(query.breakdown, query.top),
        scope=parse_scope(query),
    )


KINDS = {
    "events": _Kind(EventsQuery, SavedEvents, _events),
    "retention": _Kind(RetentionQuery, SavedRetention, _retention),
    "path": _Kind(PathQuery, SavedPath, _path),
    "cohort": _Kind(CohortQuery, SavedCohort, _cohort),
    "funnel": _Kind(FunnelQuery, SavedFunnel, _funnel),
    "trends": _Kind(TrendsQuery, SavedTrends, _trends),
}


def decode(body: bytes, kind: type[T], known: Collection[str] | None = ()) -> tuple[T, list[str]]:
    """`known`: fields that `kind` does not list and that are no reason to warn; None: do not look for any."""
    try:
        body.decode()
        value = msgspec.json.decode(body, type=kind)
        if known is None:
            return value, []
        sent = msgspec.json.decode(body, type=dict[str, Raw])
        inside = _listed_warnings(sent, kind) + _cohort_warnings(sent)
        return value, (_warnings(sent, {*kind.__struct_fields__, *known}) + inside)[:_MAX_WARNINGS]
    except msgspec.ValidationError as error:
        raise invalid_message(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_json(error) from error


def _warnings(sent: Collection[str], known: Collection[str]) -> list[str]:
    unknown: Sequence[str] = sorted(set(sent) - set(known))
    return [f"unknown field `{name[:100]}` ignored" for name in unknown[:_MAX_WARNINGS]]


def _listed_warnings(sent: Mapping[str, Raw], kind: type[Struct]) -> list[str]:
    warnings = []
    for name in set(kind.__struct_fields__) & _LISTED.keys() & sent.keys():
        for i, item in enumerate(msgspec.json.decode(sent[name], type=list[dict[str, Raw]])):
            warnings += [f"{name}[{i}]: {w}" for w in _warnings(item, _LISTED[name].__struct_fields__)]
    return warnings[:_MAX_WARNINGS]


def _cohort_warnings(sent: Mapping[str, Raw]) -> list[str]:
    return _warnings(unknown_fields(msgspec.json.decode(sent["cohort"])), ()) if "cohort" in sent else []


def refuse_nul(value: str | None, name: str) -> None:
    if value is not None and "\0" in value:
        raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}` must not contain the character NUL.", field=name)
