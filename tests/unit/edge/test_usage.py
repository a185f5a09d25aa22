"""What projects have sent: the numbers of all, the metrics of a bounded number of them."""

import httpx
import pytest
from prometheus_client import REGISTRY

from services.contract.api.endpoints import BASE_PATH
from services.edge.http import refused as refused_requests
from services.edge.http.refused import LABELS, NO_PROJECT
from services.edge.http.usage import Usage
from services.runtime.project_labels import MOST_PROJECTS, OTHERS, ProjectLabels
from tests.unit.edge.conftest import OTHER_KEY, Edge


@pytest.fixture(autouse=True)
def room_for_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have had more projects than have labels."""
    monkeypatch.setattr(LABELS, "_known", set())
    monkeypatch.setattr(refused_requests, "_COUNTS", {})


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


def test_a_project_has_the_label_that_others_gave_it() -> None:
    """A share of what two labels say would be wrong."""
    usage = Usage(ProjectLabels(0))
    before = sample("events", OTHERS)
    usage.add("usage-no-room", 3, 1)
    usage.tell_metrics()
    assert (sample("events", OTHERS), sample("events", "usage-no-room")) == (before + 3, 0)


async def test_requests_are_counted_by_project_whatever_becomes_of_them(edge: Edge) -> None:
    before = sample("requests", "shop")
    good = {"event": "e", "distinct_id": "d"}
    answers = [await edge.client.post(f"{BASE_PATH}/track", json=body) for body in (good, good, {})]
    answers.append(await edge.client.post(f"{BASE_PATH}/track", json=good, headers={"Authorization": "Bearer hr_x"}))
    assert [answer.status_code for answer in answers] == [200, 200, 400, 401]
    assert sample("requests", "shop") == before + 3


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


async def test_refused_requests_are_counted_by_whose_they_are(edge: Edge) -> None:
    def refused(project: str, code: str) -> float:
        labels = {"project": project, "code": code}
        return REGISTRY.get_sample_value("headrace_edge_project_refused_requests_total", labels) or 0

    shown = [("shop", "missing_field"), ("shop", "invalid_json"), ("blog", "illegal_id"), (NO_PROJECT, "unauthorized")]
    before = [refused(*each) for each in shown]
    requests = sample("requests", "shop"), sample("requests", "blog")
    track, alias = f"{BASE_PATH}/track", f"{BASE_PATH}/alias"
    of_blog = {"Authorization": f"Bearer {OTHER_KEY}"}
    answers = [
        await edge.client.post(track, json={"event": "e"}),
        # Web pages' calls go another way, and are counted by the same.
        await edge.client.post(track, json={"event": "e"}, headers={"Origin": "https://example.com"}),
        await edge.client.post(track, content=b"{"),
        await edge.client.post(alias, json={"old_id": "null", "new_id": "a"}, headers=of_blog),
        await edge.client.post(track, json={"event": "e"}, headers={"Authorization": f"Bearer hr_{'x' * 43}"}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 401]
    assert [refused(*each) - was for each, was in zip(shown, before, strict=True)] == [2, 1, 1, 1]
    assert (sample("requests", "shop"), sample("requests", "blog")) == (requests[0] + 3, requests[1] + 1)
