"""Requests that were refused, counted by whose they were: the first thing that somebody wants to know who mends it."""

from starlette.types import Scope

from services.contract.api.errors import ErrorCode
from services.edge.loop_metrics import LoopCounter
from services.runtime.project_labels import ProjectLabels

REFUSED_REQUESTS = LoopCounter(
    "headrace_edge_project_refused_requests",
    "Error answers by project and code. Before a key is known the project is (none).",
    ["project", "code"],
)
NO_PROJECT = "(none)"
_PROJECT = "headrace.project"
_LABELS = ProjectLabels()


def is_of(scope: Scope, project_id: str) -> None:
    """Whose request it is, as soon as its key is known."""
    scope[_PROJECT] = project_id


def count_refused_request(scope: Scope, code: ErrorCode) -> None:
    project_id = scope.get(_PROJECT)
    REFUSED_REQUESTS.labels(NO_PROJECT if project_id is None else _LABELS.of(project_id), code.code).inc()
