"""The Grafana board, deploy/grafana/headrace.json: `make docs` writes it from the panels below.

Four rows answer what an operator asks: is it healthy, how far behind, what was refused and why, what will it cost.
The panels themselves are in board_panels.py.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.board_panels import ROWS, Panel

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
        at = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": at}
        x, y = 0, y + 1
        for panel in panels:
            number += 1
            if x + panel.width > _COLUMNS:
                x, y = 0, y + panel.height
            yield _panel(number, panel, x, y)
            x += panel.width
        y += panels[-1].height


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    kind = "stat" if panel.is_number else "timeseries"
    options: dict[str, Any] = (
        {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background" if panel.limits else "value"}
        if panel.is_number
        else {"legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}}
    )
    return {
        "id": number,
        "type": kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
            for at, (legend, expr) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "noValue": panel.nothing,
                "thresholds": {"mode": "absolute", "steps": _steps(panel)},
            },
            "overrides": [],
        },
        "options": options,
    }


def _steps(panel: Panel) -> list[dict[str, Any]]:
    """Green, then orange and red from the limits on; the other way round where small numbers are bad."""
    if not panel.limits:
        return [{"color": _GREEN, "value": None}]
    first, second = panel.limits
    if first < second:
        steps: list[tuple[str, float | None]] = [(_GREEN, None), (_YELLOW, first), (_RED, second)]
    else:
        steps = [(_RED, None), (_YELLOW, second), (_GREEN, first)]
    return [{"color": color, "value": value} for color, value in steps]


def text() -> str:
    return json.dumps(board(), indent=1, ensure_ascii=False) + "\n"


def write() -> None:
    BOARD.write_text(text(), encoding="utf-8")
