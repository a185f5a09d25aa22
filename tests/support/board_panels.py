"""The rows of the Grafana board, by what an operator asks, and the panels of what was refused."""

from collections.abc import Sequence

from tests.support.board_cost import COST
from tests.support.board_health import BEHIND, HEALTHY, MORE
from tests.support.board_kinds import RANGE, Panel, graph, grown, number, table

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
        "Whole requests that an edge answered with an error, whatever it was, of all requests. A batch that had no valid "
        "event counts here, and its events among the refused events. How many: in the table below.",
        f"sum({grown(_REFUSED_REQUESTS, '1h')}) / clamp_min(sum(increase(headrace_edge_request_seconds_count[1h])), 1)",
        "percentunit",
        (0.01, 0.05),
        "no edge",
    ),
    number(
        "Put aside in 24 h",
        "Events of SDKs that came when their project's quota was used up. They are kept as dead letters.",
        f"sum({grown(_PUT_ASIDE, '24h')})",
        limits=(1, 1_000_000),
        nothing="no edge",
    ),
    number(
        "Lines workers could not store, in 24 h",
        "Lines of the log that are no events. They are kept as dead letters.",
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
                f'label_replace(sum by ({labels}) ({grown(counter, RANGE)}) > 0{but}, "what", "{what}", "", "")'
                for what, labels, counter, but in _WHAT_IS_REFUSED
            )
        },
    ),
    table(
        "SDK fields dropped, in the range",
        "Parts of SDKs' messages that have no place here; the rest is kept. The families' pages in docs/how-to say what the "
        "kinds are.",
        {"parts": f"sum by (family, kind) ({grown('headrace_edge_sdk_lost_total', RANGE)}) > 0"},
    ),
    graph(
        "Refused events in the hour before, by reason",
        "Those of batches and of SDKs.",
        {"{{code}}": f"sum by (code) ({grown(_REFUSED, '1h')}) > 0"},
        nothing="none",
    ),
    graph(
        "Error answers in the hour before, by reason",
        "Whole requests that were refused. 429 and 503 are sent again by their clients.",
        {"{{service}} {{code}}": f"sum by (service, code) ({grown('headrace_http_errors_total', '1h')}) > 0"},
        nothing="none",
    ),
    graph(
        "Lines workers could not store in the hour before, by reason",
        "Lines of the log that are no events.",
        {"{{code}}": f"sum by (code) ({grown('headrace_worker_dead_letters_total', '1h')})"},
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
