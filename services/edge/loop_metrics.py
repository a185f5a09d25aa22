"""Counters and histograms kept without locks: prometheus_client's own cost a tenth of a single event.

Changed and collected by the event loop's thread alone.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import REGISTRY, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

T = TypeVar("T")

# Upper ends of the buckets of a call's or an acknowledgement's time, in seconds.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Labelled(Collector, Generic[T]):
    """What `make` makes, for each set of labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], make: Callable[[], T]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._by_labels: defaultdict[tuple[str, ...], T] = defaultdict(make)
        REGISTRY.register(self)

    def labels(self, *values: str) -> T:
        return self._by_labels[values]


class Count:
    """The value of one set of labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount


class LoopCounter(_Labelled[Count]):
    """As prometheus_client's Counter with labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        super().__init__(name, documentation, labels, Count)

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self._by_labels.items():
            family.add_metric(values, count.value)
        yield family


class Times:
    """A histogram's buckets for one set of labels; `bounds` are their upper ends in seconds."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        ends = [*map(str, self._bounds), "+Inf"]
        buckets = [(end, float(count)) for end, count in zip(ends, accumulate(self._counts), strict=True)]
        family.add_metric(labels, buckets, self._sum)


class LoopHistogram(_Labelled[Times]):
    """As prometheus_client's Histogram of seconds, with labels or without any."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        super().__init__(name, documentation, labels, lambda: Times(bounds))

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, times in self._by_labels.items():
            times.add_to(family, values)
        yield family
