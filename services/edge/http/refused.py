"""Requests and those of them that were refused, counted by whose they were: the first thing that somebody wants to know
who mends it."""

from starlette.types import Scope

from services.contract.api.errors import ErrorCode
from services.edge.loop_metrics import Count, LoopCounter
from services.runtime.project_labels import ProjectLabels

REQUESTS = LoopCounter(
    "headrace_edge_project_requests", "Requests with a valid key, by project, the refused ones too.", ["project"]
)
REFUSED_REQUESTS = LoopCounter(
    "headrace_edge_project_refused_requests",
    "Error answers by project and code. Before a key is known the project is (none).",
    ["project", "code"],
)
NO_PROJECT = "(none)"
_PROJECT = "headrace.project"
# One for all that the edge counts by project: a project has the same label in each, so that shares are right.
LABELS = ProjectLabels()
# As many as there are projects with keys: a request looks its count up here alone.
_COUNTS: dict[str, Count] = {}


def is_of(scope: Scope, project_id: str) -> None:
    """Whose request it is, as soon as its key is known. Counts it."""
    scope[_PROJECT] = project_id
    count = _COUNTS.get(project_id)
    if count is None:
        count = _COUNTS[project_id] = REQUESTS.labels(LABELS.of(project_id))
    count.inc()


def count_refused_request(scope: Scope, code: ErrorCode) -> None:
    project_id = scope.get(_PROJECT)
    REFUSED_REQUESTS.labels(NO_PROJECT if project_id is None else LABELS.of(project_id), code.code).inc()
