"""Each service's /metrics has its own metrics and no other's, with names as Prometheus' conventions want them."""

import json
import re
import subprocess
import sys
from functools import cache
from typing import NamedTuple

import pytest

# What each program's metrics begin with, those of Python and of the process left out.
PREFIXES = {
    "edge": {"headrace_edge_", "headrace_http_"},
    "worker": {"headrace_worker_"},
    "query": {"headrace_query_", "headrace_http_"},
    "console": {"headrace_console_", "headrace_http_"},
    "probe": {"headrace_probe_", "headrace_http_"},
}
MODULES = {name: f"services.{name}.app" for name in PREFIXES}
# A fork for each, so that what all of them import is imported once.
COLLECT = """
import importlib, json, os, sys
import aiokafka, numpy, services.cli.app
from prometheus_client import REGISTRY
for module in sys.argv[1:]:
    if os.fork() == 0:
        importlib.import_module(module)
        print(json.dumps([module, [[m.name, m.type, m.documentation] for m in REGISTRY.collect()]]), flush=True)
        os._exit(0)
    os.wait()
"""
# Base units and things that are counted; of a gauge without a unit, its name says what 1 means.
UNITS = (
    "seconds",
    "bytes",
    "ratio",
    "records",
    "ids",
    "rows",
    "events",
    "queries",
    "deletions",
    "partitions_failing",
    "partitions",
    "streams",
    "mutations",
)
NO_UNIT = {"headrace_worker_store_up", "headrace_query_running", "headrace_query_queued"}
NO_BASE_UNIT = re.compile(
    r"_(milliseconds|microseconds|nanoseconds|ms|us|minutes|hours|days|kb|mb|kib|mib|percent)(_|$)"
)


class Metric(NamedTuple):
    """As the registry shows it: a counter's name without `_total`."""

    name: str
    type: str
    help: str


@cache
def all_metrics() -> dict[str, list[Metric]]:
    """By module; those of Python and of the process left out."""
    command = [sys.executable, "-c", COLLECT, *MODULES.values()]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout  # noqa: S603
    return {
        module: [Metric(*metric) for metric in metrics if not metric[0].startswith(("python_", "process_"))]
        for module, metrics in map(json.loads, output.splitlines())
    }


@pytest.mark.parametrize("service", MODULES)
def test_metrics_of_a_service(service: str) -> None:
    metrics = all_metrics()[MODULES[service]]
    assert {prefix for prefix in PREFIXES[service] if any(m.name.startswith(prefix) for m in metrics)} == PREFIXES[
        service
    ]
    assert [m.name for m in metrics if not m.name.startswith(tuple(PREFIXES[service]))] == []
    former = {m.name for m in metrics if m.help.startswith("Former name of ")}
    for metric in metrics:
        assert re.fullmatch("[a-z][a-z0-9_]*", metric.name)
        assert metric.type in ("counter", "gauge", "histogram")
        assert not metric.name.endswith(
            ("_count", "_sum", "_bucket", "_total", "_info", "_counter", "_gauge", "_histogram")
        )
        assert not NO_BASE_UNIT.search(metric.name), metric.name
        assert metric.help.endswith("."), metric.name
        if metric.name in former or metric.type == "counter":
            continue
        assert metric.name.endswith(UNITS) or metric.name in NO_UNIT, f"{metric.name} does not say its unit"
        if metric.type == "histogram":
            assert metric.name.endswith("_seconds")
