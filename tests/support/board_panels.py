"""The panels of the Grafana board, by what an operator asks."""

from collections.abc import Sequence

from tests.support.board_health import BEHIND, HEALTHY, MORE
from tests.support.board_kinds import Panel, graph, grown, number, table

_PUT_ASIDE = 'headrace_edge_rejected_events_total{code="quota_exceeded"}'
_REFUSED = 'headrace_edge_rejected_events_total{code!="quota_exceeded"}'
_REFUSED_REQUESTS = 'headrace_http_errors_total{service="edge"}'
_OF_PROJECTS = "headrace_edge_project_refused_total"
_REQUESTS_OF_PROJECTS = "headrace_edge_project_refused_requests_total"
# What, by which labels, of which counter. What is refused before HTTP is read is counted by code alone.
_WHAT_IS_REFUSED = (
    ("events of batches", "code, project", _OF_PROJECTS + '{code!="quota_exceeded"}', ""),
    ("events put aside", "code, project", _OF_PROJECTS + '{code="quota_exceeded"}', ""),
    ("whole requests", "code, project", _REQUESTS_OF_PROJECTS, ""),
    ("whole requests", "code", _REFUSED_REQUESTS, f" unless on (code) {_REQUESTS_OF_PROJECTS}"),
)
_NOT_SENT = 'headrace_probe_rounds_total{result=~"refused|send_unanswered"}'
_NOT_ASKED = 'headrace_probe_rounds_total{result="query_unanswered"}'
_TABLES = "max by (table) (headrace_query_store_bytes)"
_RANGE = "$__range"


def _by_project(counter: str, or_else: str) -> str:
    """0 for projects that only the other counter has: each column has each project."""
    return f"sum by (project) ({grown(counter, _RANGE)}) or 0 * sum by (project) ({or_else})"


REFUSED = (
    number(
        "Refused events in 1 h",
        "Events of batches and of SDKs that broke a rule, of all events. They are kept as dead letters. Refused "
        "requests are not among them.",
        f"sum({grown(_REFUSED, '1h')}) / clamp_min(sum(increase(headrace_edge_events_total[1h])), 1)",
        "percentunit",
        (0.001, 0.01),
        "no edge",
    ),
    number(
        "Refused requests in 1 h",
        "Whole requests that an edge answered with an error, whatever it was. A batch that had no valid event counts here, "
        "and its events among the refused events.",
        f"sum({grown(_REFUSED_REQUESTS, '1h')})",
        limits=(1, 1_000_000),
        nothing="no edge",
    ),
    number(
        "Put aside in 24 h",
        "Events of SDKs that came when their project's quota was used up. They are kept as dead letters.",
        f"sum({grown(_PUT_ASIDE, '24h')})",
        limits=(1, 1_000_000),
        nothing="no edge",
    ),
    number(
        "Dead letters of workers in 24 h",
        "Lines of the log that could not be stored.",
        f"sum({grown('headrace_worker_dead_letters_total', '24h')})",
        limits=(1, 100),
    ),
    number(
        "Probe's sends without a 2xx in 24 h",
        "A producer that sends as the probe does was refused, or got no answer.",
        f"sum({grown(_NOT_SENT, '24h')})",
        limits=(1, 100),
        nothing="no probe",
        nothing_is="orange",
    ),
    number(
        "Probe's queries unanswered in 24 h",
        "A reader that asks as the probe does got no answer.",
        f"sum({grown(_NOT_ASKED, '24h')})",
        limits=(1, 100),
        nothing="no probe",
        nothing_is="orange",
    ),
    table(
        "Refused in the range",
        "What, why and whose. docs/reference/errors.md says what the codes mean. `headrace dead-letters list` shows the events; "
        "single calls that were refused are kept nowhere. A batch that had no valid event is a whole request, too. "
        "(none): no valid key.",
        {
            "count": " or ".join(
                f'label_replace(sum by ({labels}) ({grown(counter, _RANGE)}) > 0{but}, "what", "{what}", "", "")'
                for what, labels, counter, but in _WHAT_IS_REFUSED
            )
        },
    ),
    table(
        "Parts of SDK messages without a place here, in the range",
        "The pages of the families say what the kinds are.",
        {"parts": f"sum by (family, kind) ({grown('headrace_edge_sdk_lost_total', _RANGE)}) > 0"},
    ),
    graph(
        "Refused events in the hour before, by reason",
        "Those of batches and of SDKs.",
        {"{{code}}": f"sum by (code) ({grown(_REFUSED, '1h')}) > 0"},
    ),
    graph(
        "Error answers in the hour before, by reason",
        "Whole requests that were refused. 429 and 503 are sent again by their clients.",
        {"{{service}} {{code}}": f"sum by (service, code) ({grown('headrace_http_errors_total', '1h')}) > 0"},
    ),
    graph(
        "Dead letters of workers in the hour before, by reason",
        "Lines of the log that could not be stored.",
        {"{{code}}": f"sum by (code) ({grown('headrace_worker_dead_letters_total', '1h')})"},
    ),
)

COST = (
    number(
        "Events a day",
        "Accepted in the last 24 hours. docs/capacity.md says what machines a number of events needs.",
        'sum(increase(headrace_edge_events_total{result="accepted"}[24h]))',
        nothing="no edge",
    ),
    number(
        "Bytes a day",
        "Of the bodies with accepted events, decompressed; what was refused of such a body is among them.",
        f"sum({grown('headrace_edge_project_bytes_total', '24h')})",
        "bytes",
        nothing="no events",
        nothing_is="text",
    ),
    number(
        "On disk",
        "All tables, on one server. What Kafka keeps comes on top: the bytes of its 7 days, on each replica.",
        f"sum({_TABLES})",
        "bytes",
        nothing="no query",
    ),
    number(
        "Disk in 30 days",
        "If all tables grow on as in the last two days. It needs 6 hours of them.",
        f"(sum({_TABLES}) + 2592000 * sum(clamp_min(deriv(({_TABLES})[2d:5m]), 0)))"
        " and sum(headrace_query_store_bytes offset 6h)",
        "bytes",
        nothing="after 6 h",
        nothing_is="text",
    ),
    number(
        "Stored bytes an event",
        "Of the events table.",
        'max(headrace_query_store_bytes{table="events"}) / max(headrace_query_store_rows{table="events"})',
        "bytes",
        nothing="no events",
        nothing_is="text",
    ),
    number(
        "Query seconds a second",
        "How many queries ClickHouse works on at once, over an hour.",
        "sum(rate(headrace_query_project_seconds_total[1h]))",
        limits=(4, 8),
        nothing="no queries",
        nothing_is="text",
    ),
    Panel(
        title="By project, in the range",
        says="What each has sent and asked. `headrace usage` has events and bytes by day, and forgets nothing.",
        queries={
            "events": _by_project("headrace_edge_project_events_total", "headrace_query_project_seconds_total"),
            "bytes": _by_project("headrace_edge_project_bytes_total", "headrace_query_project_seconds_total"),
            "query seconds": _by_project("headrace_query_project_seconds_total", "headrace_edge_project_events_total"),
        },
        kind="table",
        nothing="no project",
        sorted_by=("events", True),
        width=24,
    ),
    graph(
        "Events a second, by project",
        "The ten largest.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_edge_project_events_total[5m])))"},
    ),
    graph(
        "Bytes a second, by project",
        "The ten largest.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_edge_project_bytes_total[5m])))"},
        "Bps",
    ),
    graph(
        "Quota of today, by project",
        "What is used of it. At 1 native calls get 429, and events of SDKs are put aside.",
        {"{{project}}": "topk(10, max by (project) (headrace_edge_quota_used_ratio))"},
        "percentunit",
    ),
    graph(
        "Query seconds a second, by project",
        "What ClickHouse works for whom. The ten largest.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_query_project_seconds_total[5m])))"},
    ),
    graph(
        "Reads of the store a second, by project",
        "The ten largest.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_query_project_queries_total[5m])))"},
    ),
    graph(
        "Memory of each process",
        "Resident. A worker's is mostly the ids of its window.",
        {"{{service}} {{instance}}": 'process_resident_memory_bytes{job="headrace"}'},
        "bytes",
    ),
    graph(
        "Cores of each process",
        "1 is a full core: then add an instance.",
        {"{{service}} {{instance}}": 'rate(process_cpu_seconds_total{job="headrace"}[5m])'},
    ),
)

ROWS: Sequence[tuple[str, Sequence[Panel]]] = (
    ("Is it healthy?", HEALTHY),
    ("How far behind is it?", BEHIND),
    ("What was refused, and why?", REFUSED),
    ("What will it cost?", COST),
    ("More", MORE),
)
COLLAPSED = ("More",)
