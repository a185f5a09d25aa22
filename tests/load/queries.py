"""What readers ask beside the load: of the last hour, by the names that tests/bench/events.py gives its events."""

from datetime import UTC, datetime, timedelta
from typing import Any

_HOUR = timedelta(hours=1)
_KINDS: dict[str, dict[str, Any]] = {
    "events": {"limit": 100, "order": "desc"},
    "trends": {"series": [{"event": "page_viewed"}], "interval": "hour", "breakdown": "platform"},
    "funnel": {"steps": [{"event": "product_viewed"}, {"event": "cart_updated"}, {"event": "order_completed"}]},
    "retention": {"born_event": "search_performed", "return_event": "page_viewed", "interval": "hour"},
    "path": {"start_event": "search_performed", "max_depth": 3},
}
KINDS = tuple(_KINDS)


def query(kind: str, now: datetime | None = None) -> dict[str, Any]:
    """Its body."""
    until = now or datetime.now(UTC)
    return {"since": (until - _HOUR).isoformat(), "until": until.isoformat(), **_KINDS[kind]}


def saved_queries() -> list[dict[str, Any]]:
    """Of a dashboard: one of each kind but events, of the last hour whenever it is run."""
    return [{"type": kind, "title": kind, "last": "1h", **body} for kind, body in _KINDS.items() if kind != "events"]
