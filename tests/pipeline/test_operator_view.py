"""What an operator sees of the running pipeline: the probe's events, and the metrics that alarms and board go by."""

import asyncio
import json
import re

import httpx
import yaml

from services.probe.rounds import Probe
from tests.deploy.metric_names import series_of
from tests.deploy.test_alarms import PROMETHEUS
from tests.support.board_panels import ROWS
from tests.support.pipeline import KEY, Pipeline, eventually

SERVICES = ("edge", "worker", "query")


def shown_by(pipeline: Pipeline, service: str) -> str:
    """Its /metrics, at the port that its log names."""
    for log in (pipeline.data_dir / "logs").glob(f"{service}*.log"):
        for line in log.read_text().splitlines():
            if f'"{service}_starting"' in line:
                port = json.loads(line)["port"]
                answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
                # Prometheus 3 reads nothing without it.
                assert answer.headers["content-type"].startswith("text/plain; version=")
                return answer.text
    raise AssertionError(f"the log of {service} does not say where it listens")


def test_every_metric_of_alarms_and_board_is_in_the_services_metrics(pipeline: Pipeline) -> None:
    pipeline.ask("/track", {"event": "metrics", "distinct_id": "a"})
    rules = [
        rule for path in PROMETHEUS.glob("*.yaml") for rule in yaml.safe_load(path.read_text())["groups"][0]["rules"]
    ]
    queries = [query for _, panels in ROWS for panel in panels for query in panel.queries.values()]
    named = set().union(*(series_of(query) for query in [*queries, *(rule["expr"] for rule in rules)]))
    text = "\n".join(shown_by(pipeline, service) for service in SERVICES)
    declared = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    there = declared | {f"{name}_{part}" for name in declared for part in ("bucket", "sum", "count")}
    assert {name for name in named if not name.startswith("headrace_probe_")} - there == {"up"}


def test_the_probe_sees_its_event(pipeline: Pipeline) -> None:
    async def probed() -> tuple[str, float]:
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=pipeline.base_url, headers=headers, timeout=15) as client:
            probe = Probe(client, every_s=15, timeout_s=60)
            return await probe.round(), probe.freshness_s()

    result, freshness_s = asyncio.run(probed())
    assert result == "seen"
    assert 0 < freshness_s < 60


def test_usage_of_the_project_is_in_the_metrics(pipeline: Pipeline) -> None:
    def events() -> float:
        found = re.search(
            r'^headrace_edge_project_events_total{project="[^"]+"} (\S+)', shown_by(pipeline, "edge"), re.M
        )
        return float(found[1]) if found else 0.0

    before = events()
    pipeline.ask("/batch", {"events": [{"event": "counted", "distinct_id": "a"}] * 7})
    eventually(events, lambda now: now >= before + 7)
