"""Which metrics a query of Prometheus names, and which there are: docs/reference/metrics.md, which a test keeps true."""

import re
from collections.abc import Iterator
from functools import cache

from tests.deploy.env_file import ROOT

REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
_NAME = re.compile(r"\b(?:headrace|process)_\w+|\bup\b")
# What Prometheus itself adds to what a service shows, and what our configuration adds.
_OF_PROMETHEUS = {"instance", "job", "service", "le", "alertname", "alertstate", "severity"}
_OF_EVERY_PROCESS = {
    "up",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
}


@cache
def labels_by_series() -> dict[str, set[str]]:
    """Every series that the services have, by name, with its labels."""
    found: dict[str, set[str]] = {name: set() for name in _OF_EVERY_PROCESS}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", REFERENCE.read_text(), re.MULTILINE):
        names = [f"{name}_{part}" for part in ("bucket", "sum", "count")] if kind == "histogram" else [name]
        for each in names:
            found.setdefault(each, set()).update(re.findall(r"`(\w+)`", labels))
    return found


def series_of(query: str) -> set[str]:
    return set(_NAME.findall(re.sub(r'"[^"]*"', "", query)))


def labels_of(query: str) -> set[str]:
    """Those of selectors and of `by`, `on` and `group_left`."""
    selected = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', query)
    grouped: list[str] = re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", query)
    return {*selected, *(name.strip() for part in grouped for name in part.split(",") if name.strip())}


def wrong_in(query: str) -> Iterator[str]:
    """Series that no service has, and labels that none of the query's series has."""
    there, labels = labels_by_series(), set(_OF_PROMETHEUS)
    for name in sorted(series_of(query)):
        if name not in there:
            yield f"no service has {name}"
        labels |= there.get(name, set())
    yield from (f"no series of the query has the label {name}" for name in sorted(labels_of(query) - labels))
