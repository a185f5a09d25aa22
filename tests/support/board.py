"""The Grafana board, deploy/grafana/headrace.json: `make docs` writes it from the panels below.

Four rows answer what an operator asks: is it healthy, how far behind, what was refused and why, what will it cost. A
fifth, closed one has what pages of alarms name besides.
The panels themselves are in board_panels.py and board_health.py.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.board_kinds import Panel, Words
from tests.support.board_panels import COLLAPSED, ROWS

BOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "headrace.json"
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_COLUMNS = 24
_GREEN, _YELLOW, _RED = "green", "orange", "red"


def board() -> dict[str, Any]:
    """As Grafana imports it."""
    return {
        "uid": "headrace",
        "title": "Headrace",
        "description": "Is it healthy, how far behind, what was refused and why, what will it cost.",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": list(_panels()),
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for title, panels in ROWS:
        number += 1
        row = {"id": number, "type": "row", "title": title, "collapsed": title in COLLAPSED, "panels": []}
        row["gridPos"] = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        laid = list(_laid(panels, number + 1, y + 1))
        number += len(laid)
        y = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in laid)
        if row["collapsed"]:  # its panels are inside, and take no room
            row["panels"], laid = laid, []
        yield from (row, *laid)


def _laid(panels: Sequence[Panel], number: int, y: int) -> Iterator[dict[str, Any]]:
    """Beside each other, from the left; a new line where there is no room."""
    x = height = 0
    for at, panel in enumerate(panels):
        if x + panel.width > _COLUMNS:
            x, y, height = 0, y + height, 0
        height = max(height, panel.height)
        yield _panel(number + at, panel, x, y)
        x += panel.width


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": list(_targets(panel)),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel))},
        "options": _options(panel),
        "transformations": _transformations(panel) if panel.kind == "table" else [],
    }


def _targets(panel: Panel) -> Iterator[dict[str, Any]]:
    """Numbers and tables are asked for now alone: of a range the last one may be of long ago."""
    for at, (legend, expr) in enumerate(panel.queries.items()):
        target: dict[str, Any] = {"refId": _ref(at), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
        if panel.kind != "timeseries":
            target |= {"instant": True, "range": False}
        if panel.kind == "table":
            target |= {"format": "table"}
        yield target


def _ref(at: int) -> str:
    return chr(ord("A") + at)


def _defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "noValue": panel.nothing,
        "mappings": _mappings_of(panel),
        "thresholds": _thresholds(panel.limits),
    }
    if panel.kind == "timeseries" and panel.limits:
        found |= {"custom": {"thresholdsStyle": {"mode": "line"}}}
    return found | ({"decimals": 0} if panel.kind == "table" else {})


def _mappings_of(panel: Panel) -> list[dict[str, Any]]:
    """Words for values, and for none."""
    missing: dict[str, Any] = {"match": "null+nan", "result": {"text": panel.nothing, "index": 9}}
    if panel.kind == "stat":
        missing["result"]["color"] = panel.nothing_is
        return [*_mappings(panel.words), {"type": "special", "options": missing}]
    return [{"type": "special", "options": missing}] if panel.kind == "timeseries" else []


def _mappings(words: Words) -> list[dict[str, Any]]:
    options = {
        value: {"text": text, "color": color, "index": at} for at, (value, (text, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}] if options else []


def _texts(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    options = {value: {"text": text, "index": at} for at, (value, text) in enumerate(texts.items())}
    return [{"type": "value", "options": options}]


def _overrides(panel: Panel) -> Iterator[dict[str, Any]]:
    colored = {"custom.cellOptions": {"type": "color-background"}} if panel.kind == "table" else {}
    for legend, limits in panel.limits_of.items():
        yield _override(legend, {"thresholds": _thresholds(limits)} | colored)
    if panel.kind == "table":
        if panel.words:
            yield _override("severity", {"mappings": _mappings(panel.words)} | colored)
        for column, unit in panel.units.items():
            yield _override(column, {"unit": unit} | ({"decimals": 1} if unit != "s" else {}))
        for column, texts in panel.texts.items():
            yield _override(column, {"mappings": _texts(texts)})


def _override(field: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "matcher": {"id": "byName", "options": field},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        colored = panel.limits or panel.words
        return {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "colorMode": "background" if colored else "value",
            "graphMode": "none",
            "textMode": "value_and_name" if len(panel.queries) > 1 else "auto",
        }
    if panel.kind == "table":
        order = [] if panel.sorted_by is None else [dict(zip(("displayName", "desc"), panel.sorted_by, strict=True))]
        return {"showHeader": True, "cellHeight": "sm", "sortBy": order}
    return {"legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}}


def _transformations(panel: Panel) -> list[dict[str, Any]]:
    """One row of all queries for each set of labels, and columns that are named after the queries."""
    names = {f"Value #{_ref(at)}" if len(panel.queries) > 1 else "Value": name for at, name in enumerate(panel.queries)}
    hidden = {"Time", *(label for label in panel.hidden if label not in panel.queries)}
    hidden |= {value for value, name in names.items() if name in panel.hidden}
    kept = {value: name for value, name in names.items() if value not in hidden} | dict(panel.named)
    fields = {name: value for value, name in kept.items()}
    order = {fields.get(name, name): at for at, name in enumerate(panel.first)}
    organize = {"excludeByName": dict.fromkeys(sorted(hidden), True), "renameByName": kept, "indexByName": order}
    return [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]


def _thresholds(limits: tuple[float, float] | None) -> dict[str, Any]:
    """Green, then orange and red from the limits on; the other way round where small numbers are bad."""
    steps: list[tuple[str, float | None]] = [(_GREEN, None)]
    if limits:
        first, second = limits
        if first < second:
            steps += [(_YELLOW, first), (_RED, second)]
        else:
            steps = [(_RED, None), (_YELLOW, second), (_GREEN, first)]
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}


def text() -> str:
    return json.dumps(board(), indent=1, ensure_ascii=False) + "\n"


def write() -> None:
    BOARD.write_text(text(), encoding="utf-8")
