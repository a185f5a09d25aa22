"""Prometheus text for /metrics, of this process."""

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, disable_created_metrics, generate_latest

# A second series for each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


def render_metrics() -> tuple[bytes, str]:
    """The text and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
