"""Prometheus text for /metrics, of this process."""

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest


def render_metrics() -> tuple[bytes, str]:
    """The text and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
