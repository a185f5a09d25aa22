"""The panels of the Grafana board that say how the pipeline is, and how far behind."""

import re
from pathlib import Path

from tests.support.board_kinds import SEVERITIES, UP_OR_AWAY, Panel, graph, grown, number

_PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "alarms"
_ALARM = re.compile(r"^# (.*)\n(?:.*\n)+?\| `(Headrace\w+)` \|")
_STRANGERS = "not_found|method_not_allowed"
_FIRING = 'ALERTS{alertname=~"Headrace.*", alertstate="firing"}'
_OLDEST = "headrace_worker_oldest_unstored_seconds"
_NOT_TAKEN = 'headrace_http_errors_total{service="edge", code="log_unavailable"}'


def _says_of_alarms() -> dict[str, str]:
    """What each alarm means, and its page. Prometheus tells a board an alarm's name and labels, not its sentence."""
    found = ((page.name, _ALARM.search(page.read_text())) for page in sorted(_PAGES.glob("*.md")))
    return {alarm[2]: f"{alarm[1]} ({page})" for page, alarm in found if alarm}


def _quantiles(histogram: str) -> dict[str, str]:
    rates = f"sum by (le) (rate({histogram}_bucket[5m]))"
    return {"half of them": f"histogram_quantile(0.5, {rates})", "99 %": f"histogram_quantile(0.99, {rates})"}


HEALTHY = (
    Panel(
        title="Alarms",
        says="Critical ones and warnings that fire, named in the table below; each has a page in docs/how-to/alarms. "
        "Pending: what they warn of is so, and they fire if it stays so.",
        queries={severity: f'count({_FIRING[:-1]}, severity="{severity}"}}) or vector(0)' for severity in SEVERITIES}
        | {"pending": 'count(ALERTS{alertname=~"Headrace.*", alertstate="pending"}) or vector(0)'},
        kind="stat",
        limits=(1, 1_000_000),
        limits_of={"critical": (0.5, 1), "pending": None},
        width=4,
        height=4,
    ),
    number(
        "Instances away",
        "Instances that do not answer.",
        'count(up{job="headrace"} == 0) or vector(0)',
        limits=(0.5, 1),
        nothing="no instance",
        width=3,
    ),
    number(
        "Freshness",
        "From the send of the probe's last event to the answer that showed it. Orange from 10 s, red from a minute: "
        "then an alarm fires.",
        "max(headrace_probe_freshness_seconds)",
        "s",
        (10, 60),
        "no probe",
        "orange",
        width=3,
    ),
    Panel(
        title="Refused now",
        says="Events that were refused or put aside, of all; and requests that got an error, of all: in 5 minutes. Orange "
        "from 1 %, red from 5 %. Addresses that there are not do not count. *Refused in the range* says why, and whose.",
        queries={
            "events": 'sum(rate(headrace_edge_events_total{result!="accepted"}[5m]))'
            " / clamp_min(sum(rate(headrace_edge_events_total[5m])), 1e-9)",
            "requests": f'sum(rate(headrace_http_errors_total{{service="edge", code!~"{_STRANGERS}"}}[5m]))'
            " / clamp_min(sum(rate(headrace_edge_request_seconds_count[5m])), 1e-9)",
        },
        kind="stat",
        unit="percentunit",
        limits=(0.01, 0.05),
        nothing="no edge",
        nothing_is="red",
        width=5,
        height=4,
    ),
    number("ClickHouse", "Whether it takes inserts.", "min(headrace_worker_store_up)", words=UP_OR_AWAY, width=3),
    number(
        "Kafka",
        "Whether it takes appends of all edges: no partition fails, and no request was refused for it in two minutes.",
        f"(max(headrace_edge_partitions_failing) == bool 0) * (sum({grown(_NOT_TAKEN, '2m')}) < bool 0.5)",
        nothing="no edge",
        words=UP_OR_AWAY,
        width=3,
    ),
    number(
        "Lost in 24 h",
        "Records that Kafka had acknowledged and lost.",
        f"sum({grown('headrace_worker_lost_records_total', '24h')})"
        f" + (sum({grown('headrace_edge_lost_records_total', '24h')}) or vector(0))",
        limits=(0.5, 1),
        width=3,
    ),
    Panel(
        title="Alarms that fire",
        says="Critical ones first. In brackets the page in docs/how-to/alarms: what it means, what to do. The age is that "
        "of what the alarm warns of: it fires some minutes later.",
        queries={"age": f'time() - (ALERTS_FOR_STATE{{alertname=~"Headrace.*"}} and ignoring (alertstate) {_FIRING})'},
        kind="table",
        unit="dtdurations",
        words=SEVERITIES,
        texts={"alarm": _says_of_alarms()},
        nothing="none",
        hidden=("job",),
        first=("severity", "alarm", "project", "age", "service", "instance"),
        named={"alertname": "alarm"},
        sorted_by=("severity", False),
        width=24,
        height=6,
    ),
    graph(
        "Events a second, over 5 min",
        "By what became of them. What was in requests that were refused whole is in none of the lines: nobody counts the "
        "events of a body that is not read. A batch that was read and had no valid event is among the rejected.",
        {"{{result}}": "sum by (result) (rate(headrace_edge_events_total[5m]))"},
    ),
    graph(
        "Answers to producers, 99th percentile of 5 min",
        "From the first byte of a request to its answer. An unknown key may wait for half a second: it is looked up in "
        "ClickHouse, for it may be new. A call that strangers use can show that, while those with known keys wait for nothing.",
        {"{{call}}": "histogram_quantile(0.99, sum by (le, call) (rate(headrace_edge_request_seconds_bucket[5m])))"},
        "s",
        "no calls",
    ),
    graph(
        "Answers to readers, 99th percentile of 5 min",
        "From the start of a query to its result, by kind. The wait for other queries is in it.",
        {
            "{{query}}": "histogram_quantile(0.99, sum by (le, query) "
            "(rate(headrace_query_duration_seconds_bucket[5m])))"
        },
        "s",
        "no queries",
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
        "From Kafka to ClickHouse, of 5 min",
        "How long records wait until they are stored. Of those that are stored together, the oldest counts.",
        _quantiles("headrace_worker_store_delay_seconds"),
        "s",
        "nothing stored",
    ),
    graph(
        "Lag by partition",
        "In records. One that grows alone: its worker hangs, or still reads its ids.",
        {"{{topic}} {{partition}}": "sum by (topic, partition) (headrace_worker_lag_records)"},
        nothing="no worker",
    ),
    graph(
        "Stored, and dropped as duplicates, a second, over 5 min",
        "Duplicates are resends of what is stored.",
        {
            "stored": "sum(rate(headrace_worker_rows_total[5m]))",
            "duplicates": "sum(rate(headrace_worker_duplicates_total[5m]))",
        },
    ),
    graph(
        "Insert into ClickHouse, of 5 min",
        "Seconds of one insert.",
        _quantiles("headrace_worker_insert_seconds"),
        "s",
        "no inserts",
    ),
)

MORE = (
    graph(
        "Acknowledgements of Kafka, mean of 5 min",
        "Seconds until a record is acknowledged, by edge.",
        {"{{instance}}": "rate(headrace_edge_ack_seconds_sum[5m]) / rate(headrace_edge_ack_seconds_count[5m])"},
        "s",
        "nothing sent",
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
        nothing="none",
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
