"""What a query is about, in one line: the title of a tile, the summary of a form that is folded."""

from typing import Any

from msgspec import UnsetType

from services.console.queries.kinds import Kind

_ANY = "any event"
_DEFAULT_INTERVAL = "day"


def event_name(event: str | list[str] | UnsetType | None) -> str:
    if isinstance(event, str):
        return event
    return " or ".join(event) if isinstance(event, list) else _ANY


def title_of(kind: Kind, body: dict[str, Any]) -> str:
    """`purchase → purchase, by week`; of a query that names no event, its kind."""
    said = _EVENTS[kind.name](body) if kind.name in _EVENTS else ""
    if not said:
        return kind.title
    parts = [said]
    if kind.name in ("trends", "retention"):
        parts.append(f"by {body.get('interval') or _DEFAULT_INTERVAL}")
    if body.get("breakdown"):
        parts.append(f"by {body['breakdown']}")
    return ", ".join(parts)


def _trends(body: dict[str, Any]) -> str:
    return ", ".join(_series(one) for one in body.get("series") or [])


def _series(series: dict[str, Any]) -> str:
    measure, of = series.get("measure", "count"), series.get("property")
    name = event_name(series.get("event"))
    if measure == "count":
        return name
    return f"{name} ({str(measure).replace('_', ' ')}{f' of {of}' if of else ''})"


def _funnel(body: dict[str, Any]) -> str:
    return " → ".join(event_name(one.get("event")) for one in body.get("steps") or [])


def _retention(body: dict[str, Any]) -> str:
    return f"{event_name(body.get('born_event'))} → {event_name(body.get('return_event'))}"


def _path(body: dict[str, Any]) -> str:
    word = "Before" if body.get("direction") == "before" else "After"
    return f"{word} {event_name(body.get('start_event'))}"


_EVENTS = {"trends": _trends, "funnel": _funnel, "retention": _retention, "path": _path}
