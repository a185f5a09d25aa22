"""The edge's own counters and histograms say what prometheus_client's would."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.registry import Collector

from services.edge.loop_metrics import LoopCounter, LoopHistogram

BOUNDS = (0.01, 0.1, 1.0)


@pytest.fixture
def registered() -> Iterator[list[Collector]]:
    """What a test puts in here is taken out of the registry of all."""
    collectors: list[Collector] = []
    yield collectors
    for collector in collectors:
        REGISTRY.unregister(collector)


def samples(collector: Collector) -> list[str]:
    """In the text form, without the time of creation, which the edge's own do not tell."""
    registry = CollectorRegistry()
    registry.register(collector)
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_a_counter_counts_each_set_of_labels(registered: list[Collector]) -> None:
    theirs = Counter("seen", "What was seen.", ["call", "result"], registry=None)
    own = LoopCounter("seen", "What was seen.", ["call", "result"])
    registered.append(own)
    for count in (own, theirs):
        count.labels("track", "accepted").inc()
        count.labels("batch", "rejected").inc(3)
        count.labels("track", "accepted").inc(2)
    assert samples(own) == samples(theirs)
    assert 'seen_total{call="track",result="accepted"} 3.0' in samples(own)


@pytest.mark.parametrize("labels", [(), ("call",)])
def test_a_histogram_counts_what_is_at_most_a_bound(registered: list[Collector], labels: tuple[str, ...]) -> None:
    theirs = Histogram("took", "How long it took.", labels, buckets=BOUNDS, registry=None)
    own = LoopHistogram("took", "How long it took.", BOUNDS, labels)
    registered.append(own)
    for seconds in (0.0, 0.01, 0.010001, 0.5, 1.0, 7.0):
        own.labels(*labels).observe(seconds)
        (theirs.labels(*labels) if labels else theirs).observe(seconds)
    assert samples(own) == samples(theirs)
    assert any(
        line.startswith("took_bucket") and 'le="0.01"' in line and line.endswith(" 2.0") for line in samples(own)
    )
