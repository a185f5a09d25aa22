"""The histogram of request times, kept without locks: prometheus_client's own costs a twentieth of a single event."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LABELS = [*map(str, _BOUNDS), "+Inf"]


class CallSeconds(Collector):
    """Observed and collected by the event loop's thread alone."""

    def __init__(self, calls: Iterable[str]) -> None:
        self._counts = {call: [0] * len(_LABELS) for call in calls}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def observe(self, call: str, seconds: float) -> None:
        self._counts[call][bisect_left(_BOUNDS, seconds)] += 1
        self._sums[call] += seconds

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "headrace_edge_request_seconds", "From the first byte of a request to its answer.", labels=["call"]
        )
        for call, counts in self._counts.items():
            buckets = [(bound, float(count)) for bound, count in zip(_LABELS, accumulate(counts), strict=True)]
            family.add_metric([call], buckets, self._sums[call])
        yield family
