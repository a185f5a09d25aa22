"""The panels of the Grafana board, by what an operator asks."""

from collections.abc import Mapping, Sequence

from msgspec import Struct


class Panel(Struct, frozen=True, kw_only=True):
    """`queries` by legend. A panel with `is_number` shows the last value alone; `limits`: orange and red begin there."""

    title: str
    says: str
    queries: Mapping[str, str]
    unit: str = "short"
    is_number: bool = False
    limits: tuple[float, float] | None = None
    nothing: str = "no data"
    width: int = 12
    height: int = 8


def _number(
    title: str,
    says: str,
    expr: str,
    unit: str = "short",
    limits: tuple[float, float] | None = None,
    nothing: str = "0",
) -> Panel:
    return Panel(
        title=title,
        says=says,
        queries={"now": expr},
        unit=unit,
        is_number=True,
        limits=limits,
        nothing=nothing,
        width=4,
        height=4,
    )


def _graph(title: str, says: str, queries: Mapping[str, str], unit: str = "short") -> Panel:
    return Panel(title=title, says=says, queries=queries, unit=unit)


HEALTHY = (
    _number(
        "Alarms",
        "Alarms that fire. Each has a page in docs/how-to/alarms.",
        'count(ALERTS{alertname=~"Headrace.*", alertstate="firing"})',
        limits=(1, 2),
    ),
    _number("Instances away", "Instances that do not answer.", 'count(up{job="headrace"} == 0)', limits=(1, 2)),
    _number(
        "Freshness",
        "From the send of the probe's last event to the answer that showed it.",
        "max(headrace_probe_freshness_seconds)",
        "s",
        (10, 60),
        "no probe",
    ),
    _number(
        "ClickHouse", "1: it takes inserts.", "min(headrace_worker_store_up)", limits=(1, 0.5), nothing="no worker"
    ),
    _number(
        "Kafka",
        "Seconds that it takes to acknowledge a record.",
        "sum(rate(headrace_edge_ack_seconds_sum[5m])) / sum(rate(headrace_edge_ack_seconds_count[5m]))",
        "s",
        (0.1, 1),
        "no events",
    ),
    _number(
        "Lost in 24 h",
        "Records that Kafka had acknowledged and lost.",
        "(sum(increase(headrace_worker_lost_records_total[24h])) or vector(0))"
        " + (sum(increase(headrace_edge_lost_records_total[24h])) or vector(0))",
        limits=(1, 1.5),
    ),
    _graph(
        "Events a second",
        "By what became of them.",
        {"{{result}}": "sum by (result) (rate(headrace_edge_events_total[5m]))"},
    ),
    _graph(
        "Answers to producers, 99th percentile",
        "From the first byte of a request to its answer.",
        {"{{call}}": "histogram_quantile(0.99, sum by (le, call) (rate(headrace_edge_request_seconds_bucket[5m])))"},
        "s",
    ),
)

BEHIND = (
    _number(
        "Oldest event not stored",
        "Its age. 0 while none is older than some seconds.",
        "max(headrace_worker_oldest_unstored_seconds)",
        "s",
        (60, 300),
        "no worker",
    ),
    _number("Lag", "Kafka records that are not stored.", "sum(headrace_worker_lag_records)", limits=(1000, 100_000)),
    _number(
        "Time until Kafka deletes unread",
        "Of the topic that is nearest to it.",
        "min(min by (topic) (headrace_worker_retention_seconds)"
        " - on (topic) max by (topic) (headrace_worker_oldest_unstored_seconds))",
        "s",
        (259_200, 86_400),
        "no worker",
    ),
    _number(
        "Index of ids",
        "How full it is. A worker stops when its ids do not fit.",
        "max(headrace_worker_index_fill_ratio)",
        "percentunit",
        (0.6, 0.8),
        "no worker",
    ),
    _number(
        "Rebalances in 1 h",
        "How often workers were given their partitions.",
        "sum(increase(headrace_worker_rebalances_total[1h]))",
        limits=(6, 20),
    ),
    _number(
        "Deletions that wait",
        "Asked for, and not done.",
        "max(headrace_query_waiting_deletions)",
        limits=(100, 1000),
    ),
    _graph(
        "Log to store, of the oldest record of a block",
        "How long events wait for workers and ClickHouse.",
        {
            "half of them": "histogram_quantile(0.5, sum by (le) (rate(headrace_worker_store_delay_seconds_bucket[5m])))",
            "99 %": "histogram_quantile(0.99, sum by (le) (rate(headrace_worker_store_delay_seconds_bucket[5m])))",
        },
        "s",
    ),
    _graph(
        "Lag by partition",
        "One that grows alone: its worker hangs, or still reads its ids.",
        {"{{topic}} {{partition}}": "sum by (topic, partition) (headrace_worker_lag_records)"},
    ),
    _graph(
        "Stored, and dropped as duplicates, a second",
        "Duplicates are resends of what is stored.",
        {
            "stored": "sum(rate(headrace_worker_rows_total[5m]))",
            "duplicates": "sum(rate(headrace_worker_duplicates_total[5m]))",
        },
    ),
    _graph(
        "Insert into ClickHouse",
        "Seconds of one insert.",
        {
            "half of them": "histogram_quantile(0.5, sum by (le) (rate(headrace_worker_insert_seconds_bucket[5m])))",
            "99 %": "histogram_quantile(0.99, sum by (le) (rate(headrace_worker_insert_seconds_bucket[5m])))",
        },
        "s",
    ),
)

REFUSED = (
    _number(
        "Refused events",
        "Of all events of the last hour. They are kept as dead letters.",
        'sum(increase(headrace_edge_events_total{result="rejected"}[1h]))'
        " / sum(increase(headrace_edge_events_total[1h]))",
        "percentunit",
        (0.001, 0.01),
    ),
    _number(
        "Dead letters of workers in 24 h",
        "Lines of the log that could not be stored.",
        "sum(increase(headrace_worker_dead_letters_total[24h]))",
        limits=(1, 100),
    ),
    _number(
        "Probe events refused in 24 h",
        "A producer that sends as the probe does got no 2xx.",
        'sum(increase(headrace_probe_rounds_total{result=~"refused|unanswered"}[24h]))',
        limits=(1, 100),
        nothing="no probe",
    ),
    _graph(
        "Refused events a second, by reason",
        "The codes are those of docs/reference/errors.md. `headrace dead-letters list` shows the events.",
        {"{{code}}": "sum by (code) (rate(headrace_edge_rejected_events_total[5m]))"},
    ),
    _graph(
        "Error answers a second, by reason",
        "Whole requests that were refused. 429 and 503 are sent again by their clients.",
        {"{{service}} {{code}}": "sum by (service, code) (rate(headrace_http_errors_total[5m]))"},
    ),
    _graph(
        "Dead letters of workers a second, by reason",
        "Lines of the log that could not be stored.",
        {"{{code}}": "sum by (code) (rate(headrace_worker_dead_letters_total[5m]))"},
    ),
    _graph(
        "Parts of SDK messages without a place here, a second",
        "The pages of the families say what the kinds are.",
        {"{{family}} {{kind}}": "sum by (family, kind) (rate(headrace_edge_sdk_lost_total[5m]))"},
    ),
)

COST = (
    _number(
        "Events a day",
        "Accepted in the last 24 hours.",
        'sum(increase(headrace_edge_events_total{result="accepted"}[24h]))',
    ),
    _number(
        "Bytes a day",
        "Of the bodies that they came in, decompressed.",
        "sum(increase(headrace_edge_project_bytes_total[24h]))",
        "bytes",
    ),
    _number("On disk", "All tables, on one server.", "sum(max by (table) (headrace_query_store_bytes))", "bytes"),
    _number(
        "Disk in 30 days",
        "As it grew in the last two days.",
        "sum(max by (table) (headrace_query_store_bytes)) + 2592000 * sum(deriv(headrace_query_store_bytes[2d]))"
        " / count(count by (instance) (headrace_query_store_bytes))",
        "bytes",
    ),
    _number(
        "Stored bytes an event",
        "Of the events table.",
        'max(headrace_query_store_bytes{table="events"}) / max(headrace_query_store_rows{table="events"})',
        "bytes",
    ),
    _number(
        "Cores for queries",
        "How many queries ClickHouse works on at once, over an hour.",
        "sum(rate(headrace_query_project_seconds_total[1h]))",
        limits=(4, 8),
    ),
    _graph(
        "Events a second, by project",
        "The ten largest.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_edge_project_events_total[5m])))"},
    ),
    _graph(
        "Bytes a second, by project",
        "The ten largest.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_edge_project_bytes_total[5m])))"},
        "Bps",
    ),
    _graph(
        "Quota of today, by project",
        "What is used of it. At 1 native calls get 429, and events of SDKs are put aside.",
        {"{{project}}": "topk(10, max by (project) (headrace_edge_quota_used_ratio))"},
        "percentunit",
    ),
    _graph(
        "Seconds of queries a second, by project",
        "What ClickHouse works for whom. The ten largest.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_query_project_seconds_total[5m])))"},
    ),
    _graph(
        "Reads of the store a second, by project",
        "The ten largest.",
        {"{{project}}": "topk(10, sum by (project) (rate(headrace_query_project_queries_total[5m])))"},
    ),
    _graph(
        "Memory of each process",
        "Resident. A worker's is mostly the ids of its window.",
        {"{{service}} {{instance}}": 'process_resident_memory_bytes{job="headrace"}'},
        "bytes",
    ),
    _graph(
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
)
