"""The panels of the Grafana board that say what it costs: events, disk, whose they are, and what is left of quotas."""

from tests.support.board_kinds import RANGE, SEPARATED, Panel, a_second, graph, grown, number

_TABLES = "max by (table) (headrace_query_store_bytes)"
_BYTES_AN_EVENT = (
    'max(headrace_query_store_bytes{table="events"}) / (max(headrace_query_store_rows{table="events"}) > 0)'
)
_OF_PROJECTS = (
    "headrace_edge_project_events_total",
    "headrace_edge_project_refused_total",
    "headrace_query_project_seconds_total",
)
_ACCEPTED = 'headrace_edge_events_total{result="accepted"}'
_USED = "headrace_edge_quota_used_ratio"


def _by_project(expr: str) -> str:
    """0 for projects that only other counters have: each column has each project."""
    return f"sum by (project) ({expr}) or 0 * sum by (project) ({' or '.join(_OF_PROJECTS)})"


_SENT = _by_project(grown("headrace_edge_project_events_total", RANGE))
_REFUSED = _by_project(grown("headrace_edge_project_refused_total", RANGE))

COST = (
    number(
        "Events a day at this rate",
        "If it goes on as in the last 15 minutes. docs/capacity.md says what machines a number of events needs.",
        f"86400 * sum({a_second(_ACCEPTED)})",
        nothing="no edge",
    ),
    number(
        "Disk a day at this rate",
        "What ClickHouse stored in the last 15 minutes, times the bytes of a stored event. On each replica; what people and "
        "other tables take is little beside it. Young tables take more an event: wait for the first merges.",
        f"86400 * sum({a_second('headrace_worker_rows_total')}) * ({_BYTES_AN_EVENT})",
        "bytes",
        nothing="no events",
        nothing_is="text",
    ),
    number(
        "Kafka's disk at this rate",
        "Bytes of accepted bodies in the last 15 minutes, times the retention of the events topic. On each replica. An upper "
        "end for batches: Kafka's records are compressed. docs/capacity.md has what was counted.",
        f"sum({a_second('headrace_edge_project_bytes_total')})"
        ' * max(headrace_worker_retention_seconds{topic=~".*[.]events"})',
        "bytes",
        nothing="no events",
        nothing_is="text",
    ),
    number(
        "Accepted in the last 24 h",
        "Events. Younger installations have fewer hours.",
        f"sum(increase({_ACCEPTED}[24h]))",
        nothing="no edge",
    ),
    number(
        "Bytes accepted in the last 24 h",
        "Of the bodies with accepted events, decompressed; what was refused of such a body is among them.",
        f"sum({grown('headrace_edge_project_bytes_total', '24h')})",
        "bytes",
        nothing="no events",
        nothing_is="text",
    ),
    number(
        "On disk",
        "All tables, on one server. What Kafka keeps comes on top. No service knows how much is free: watch your volumes.",
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
        _BYTES_AN_EVENT,
        "bytes",
        nothing="no events",
        nothing_is="text",
    ),
    number(
        "Query seconds a second, in 1 h",
        "How many queries ClickHouse works on at once.",
        "sum(rate(headrace_query_project_seconds_total[1h]))",
        limits=(4, 8),
        nothing="no queries",
        nothing_is="text",
    ),
    Panel(
        title="By project, in the range",
        says="What each has sent and asked. Disk a day: about, from the events of the last 15 minutes. Refused: events, with "
        "those put aside; its share of all that the project sent. Whole requests that were refused are in *Refused in the "
        "range*. `headrace usage` has events and bytes by day, and forgets nothing.",
        queries={
            "events": _SENT,
            "bytes": _by_project(grown("headrace_edge_project_bytes_total", RANGE)),
            "disk a day": f"86400 * ({_by_project(a_second('headrace_edge_project_events_total'))})"
            f" * scalar({_BYTES_AN_EVENT})",
            "refused": _REFUSED,
            "share refused": f"({_REFUSED}) / clamp_min(({_SENT}) + ({_REFUSED}), 1)",
            "query seconds": _by_project(grown("headrace_query_project_seconds_total", RANGE)),
        },
        kind="table",
        unit=SEPARATED,
        units={"bytes": "bytes", "disk a day": "bytes", "share refused": "percentunit", "query seconds": "s"},
        limits_of={"share refused": (0.01, 0.05)},
        nothing="no project",
        sorted_by=("events", True),
        first=("project",),
        width=24,
    ),
    graph(
        "Events a second, by project",
        "The ten largest, over 5 minutes.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_edge_project_events_total[5m])))"},
    ),
    graph(
        "Bytes a second, by project",
        "The ten largest, over 5 minutes.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_edge_project_bytes_total[5m])))"},
        "Bps",
    ),
    Panel(
        title="Quota of today, by project",
        says="What is used of it: orange from 80 %, red from 100 %. Then native calls get 429, and events of SDKs are put "
        "aside. It begins again at midnight UTC.",
        queries={"{{project}}": f"topk(10, max by (project) ({_USED}))"},
        unit="percentunit",
        limits=(0.8, 1),
        nothing="no quota",
        width=14,
    ),
    Panel(
        title="Quotas, now",
        says="Full in: what is left of the quota of today, at the rate of the last 15 minutes. None: it does not grow.",
        queries={
            "used": f"max by (project) ({_USED})",
            "full in": f"clamp_min(1 - max by (project) ({_USED}), 0) / (max by (project) (deriv({_USED}[15m])) > 0)",
        },
        kind="table",
        unit="dtdurations",
        units={"used": "percentunit"},
        limits_of={"used": (0.8, 1)},
        nothing="none",
        sorted_by=("used", True),
        first=("project",),
        width=10,
    ),
    graph(
        "Query seconds a second, by project",
        "What ClickHouse works for whom. The ten largest, over 5 minutes.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_query_project_seconds_total[5m])))"},
    ),
    graph(
        "Reads of the store a second, by project",
        "The ten largest, over 5 minutes.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_query_project_queries_total[5m])))"},
    ),
    graph(
        "Memory of each process",
        "Resident. A worker's is mostly the ids of its window. ClickHouse and Kafka are not among them: they have metrics of "
        "their own.",
        {"{{service}} {{instance}}": 'process_resident_memory_bytes{job="headrace"}'},
        "bytes",
    ),
    graph(
        "Cores of each process",
        "Over 5 minutes. 1 is a full core: then add an instance. ClickHouse and Kafka are not among them.",
        {"{{service}} {{instance}}": 'rate(process_cpu_seconds_total{job="headrace"}[5m])'},
    ),
)
