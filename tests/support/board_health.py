"""The panels of the Grafana board that say how the pipeline is, and how far behind."""

from tests.support.board_kinds import SEVERITIES, UP_OR_AWAY, Panel, graph, grown, number

_FIRING = 'ALERTS{alertname=~"Headrace.*", alertstate="firing"}'
_OLDEST = "headrace_worker_oldest_unstored_seconds"
_NOT_TAKEN = 'headrace_http_errors_total{service="edge", code="log_unavailable"}'


def _quantiles(histogram: str) -> dict[str, str]:
    rates = f"sum by (le) (rate({histogram}_bucket[5m]))"
    return {"half of them": f"histogram_quantile(0.5, {rates})", "99 %": f"histogram_quantile(0.99, {rates})"}


HEALTHY = (
    Panel(
        title="Alarms",
        says="Alarms that fire. The table below names them; each has a page in docs/how-to/alarms.",
        queries={severity: f'count({_FIRING[:-1]}, severity="{severity}"}}) or vector(0)' for severity in SEVERITIES},
        kind="stat",
        limits=(1, 1_000_000),
        limits_of={"critical": (0.5, 1)},
        width=4,
        height=4,
    ),
    number(
        "Instances away",
        "Instances that do not answer.",
        'count(up{job="headrace"} == 0) or vector(0)',
        limits=(0.5, 1),
        nothing="no instance",
    ),
    number(
        "Freshness",
        "From the send of the probe's last event to the answer that showed it.",
        "max(headrace_probe_freshness_seconds)",
        "s",
        (10, 60),
        "no probe",
        "orange",
    ),
    number("ClickHouse", "Whether it takes inserts.", "min(headrace_worker_store_up)", words=UP_OR_AWAY),
    number(
        "Kafka",
        "Whether it takes appends of all edges: no partition fails, and no request was refused for it in two minutes.",
        f"(max(headrace_edge_partitions_failing) == bool 0) * (sum({grown(_NOT_TAKEN, '2m')}) < bool 0.5)",
        nothing="no edge",
        words=UP_OR_AWAY,
    ),
    number(
        "Lost in 24 h",
        "Records that Kafka had acknowledged and lost.",
        f"sum({grown('headrace_worker_lost_records_total', '24h')})"
        f" + (sum({grown('headrace_edge_lost_records_total', '24h')}) or vector(0))",
        limits=(0.5, 1),
    ),
    Panel(
        title="Alarms that fire",
        says="Critical ones first. docs/how-to/alarms has a page for each: what it means, what to do.",
        queries={"since": f'1000 * (ALERTS_FOR_STATE{{alertname=~"Headrace.*"}} and ignoring (alertstate) {_FIRING})'},
        kind="table",
        unit="dateTimeFromNow",
        words=SEVERITIES,
        nothing="none",
        hidden=("job",),
        sorted_by=("severity", False),
        width=24,
        height=6,
    ),
    graph(
        "Events a second",
        "By what became of them.",
        {"{{result}}": "sum by (result) (rate(headrace_edge_events_total[5m]))"},
    ),
    graph(
        "Answers to producers, 99th percentile",
        "From the first byte of a request to its answer.",
        {"{{call}}": "histogram_quantile(0.99, sum by (le, call) (rate(headrace_edge_request_seconds_bucket[5m])))"},
        "s",
    ),
    graph(
        "Answers to readers, 99th percentile",
        "From the start of a query to its result, by kind. The wait for other queries is in it.",
        {
            "{{query}}": "histogram_quantile(0.99, sum by (le, query) "
            "(rate(headrace_query_duration_seconds_bucket[5m])))"
        },
        "s",
    ),
    graph(
        "Queries that wait for others",
        "By query service. Those that wait for long have an alarm.",
        {"{{instance}}": "headrace_query_queued"},
    ),
)

BEHIND = (
    number(
        "Oldest event not stored",
        "Its age. 0 while none is older than some seconds. Where no worker answers: for how long none has, in minutes.",
        f"max({_OLDEST}) or (time() - max(max_over_time(timestamp({_OLDEST})[1d:1m])))",
        "s",
        (60, 300),
    ),
    number(
        "Lag",
        "Kafka records that are not stored. A record holds one event, or up to a whole batch of them.",
        "sum(headrace_worker_lag_records)",
        limits=(1000, 100_000),
    ),
    number(
        "Time until Kafka deletes unread",
        "Of the topic that is nearest to it.",
        "min(min by (topic) (headrace_worker_retention_seconds)"
        " - on (topic) max by (topic) (headrace_worker_oldest_unstored_seconds))",
        "s",
        (259_200, 86_400),
    ),
    number(
        "Memory for event ids",
        "How full it is, in the fullest worker. Duplicates are found by ids; a worker stops when they do not fit.",
        "max(headrace_worker_index_fill_ratio)",
        "percentunit",
        (0.6, 0.8),
    ),
    number(
        "Rebalances in 1 h",
        "How often workers were given their partitions.",
        f"sum({grown('headrace_worker_rebalances_total', '1h')})",
        limits=(6, 20),
    ),
    number(
        "Deletions that wait",
        "Asked for, and not done.",
        "max(headrace_query_waiting_deletions)",
        limits=(100, 1000),
        nothing="no query",
    ),
    graph(
        "From Kafka to ClickHouse",
        "How long records wait until they are stored. Of those that are stored together, the oldest counts.",
        _quantiles("headrace_worker_store_delay_seconds"),
        "s",
    ),
    graph(
        "Lag by partition",
        "In records. One that grows alone: its worker hangs, or still reads its ids.",
        {"{{topic}} {{partition}}": "sum by (topic, partition) (headrace_worker_lag_records)"},
    ),
    graph(
        "Stored, and dropped as duplicates, a second",
        "Duplicates are resends of what is stored.",
        {
            "stored": "sum(rate(headrace_worker_rows_total[5m]))",
            "duplicates": "sum(rate(headrace_worker_duplicates_total[5m]))",
        },
    ),
    graph("Insert into ClickHouse", "Seconds of one insert.", _quantiles("headrace_worker_insert_seconds"), "s"),
)

MORE = (
    graph(
        "Acknowledgements of Kafka",
        "Seconds until a record is acknowledged, by edge.",
        {"{{instance}}": "rate(headrace_edge_ack_seconds_sum[5m]) / rate(headrace_edge_ack_seconds_count[5m])"},
        "s",
    ),
    graph(
        "Bytes that wait for Kafka",
        "At HEADRACE_EDGE_MAX_PENDING_BYTES an edge answers 503.",
        {"{{instance}}": "headrace_edge_pending_bytes"},
        "bytes",
    ),
    graph(
        "Partitions that take no appends",
        "By edge. Its log says why.",
        {"{{instance}}": "headrace_edge_partitions_failing"},
    ),
    graph(
        "New producers in the hour before",
        "Kafka had refused a record of the edge.",
        {"{{instance}}": f"sum by (instance) ({grown('headrace_edge_producer_renewals_total', '1h')})"},
    ),
    graph(
        "Partitions that have lost their end, in the hour before",
        "What is left of them is read again.",
        {"{{topic}} {{partition}}": f"sum by (topic, partition) ({grown('headrace_worker_log_cuts_total', '1h')}) > 0"},
    ),
    graph(
        "Events restored in the hour before",
        "ClickHouse had acknowledged and lost them.",
        {"{{instance}}": f"sum by (instance) ({grown('headrace_worker_restored_rows_total', '1h')})"},
    ),
    graph(
        "Rewritings of tables that fail",
        "ClickHouse tries them again. system.mutations has the reason.",
        {"{{instance}}": "headrace_query_failing_mutations"},
    ),
)
