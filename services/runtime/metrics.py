"""Prometheus text for /metrics, of this process; and metrics that keep their former name for one version."""

from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Metric, disable_created_metrics, generate_latest
from prometheus_client.registry import Collector

# A second series for each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class FormerName(Collector):
    """The same samples under the name, and the labels, that a metric had one version ago.

    `name` and `metric.name` are without `_total`. `labels`: new name of a label -> former name.
    """

    def __init__(self, name: str, metric: Collector, labels: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._metric = metric
        self._labels = dict(labels or {})
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        for new in self._metric.collect():
            former = Metric(self._name, f"Former name of {new.name}, for one version.", new.type)
            for sample in new.samples:
                labels = {self._labels.get(name, name): value for name, value in sample.labels.items()}
                former.add_sample(self._name + sample.name.removeprefix(new.name), labels, sample.value)
            yield former


def render_metrics() -> tuple[bytes, str]:
    """The text and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
