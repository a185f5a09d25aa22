"""What projects have sent: the numbers of all, the metrics of a bounded number of them."""

import httpx
from prometheus_client import REGISTRY

from services.contract.api.endpoints import BASE_PATH
from services.edge.http.usage import Usage
from services.runtime.project_labels import MOST_PROJECTS, OTHERS, ProjectLabels
from tests.unit.edge.conftest import Edge


def sample(kind: str, project: str) -> float:
    return REGISTRY.get_sample_value(f"headrace_edge_project_{kind}_total", {"project": project}) or 0


def test_metrics_follow_the_numbers() -> None:
    usage = Usage()
    usage.add("usage-a", 3, 300)
    usage.tell_metrics()
    usage.add("usage-a", 2, 10)
    usage.add("usage-b", 1, 5)
    usage.tell_metrics()
    usage.tell_metrics()
    assert (sample("events", "usage-a"), sample("bytes", "usage-a")) == (5, 310)
    assert (sample("events", "usage-b"), sample("bytes", "usage-b")) == (1, 5)


def test_labels_are_bounded() -> None:
    labels = ProjectLabels(2)
    assert [labels.of(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHERS, "a", OTHERS]


def test_those_beyond_the_bound_share_a_series() -> None:
    usage = Usage()
    before = sample("events", OTHERS)
    for number in range(MOST_PROJECTS + 5):
        usage.add(f"usage-many-{number}", 2, 1)
    usage.tell_metrics()
    assert sample("events", OTHERS) == before + 10


async def test_refused_events_are_counted_by_reason(edge: Edge) -> None:
    def refused(code: str) -> float:
        return REGISTRY.get_sample_value("headrace_edge_rejected_events_total", {"code": code}) or 0

    def of_project(code: str) -> float:
        labels = {"project": "shop", "code": code}
        return REGISTRY.get_sample_value("headrace_edge_project_refused_total", labels) or 0

    before = refused("missing_field"), refused("invalid_timestamp")
    before_of_project = of_project("missing_field")
    good = {"event": "e", "distinct_id": "d"}
    bad = [{"event": "e"}, {**good, "timestamp": "yesterday"}, {"event": "e"}]
    answer: httpx.Response = await edge.client.post(f"{BASE_PATH}/batch", json={"events": [good, *bad]})
    assert answer.json()["accepted"] == 1
    assert (refused("missing_field"), refused("invalid_timestamp")) == (before[0] + 2, before[1] + 1)
    assert of_project("missing_field") == before_of_project + 2
