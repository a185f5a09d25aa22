"""The Grafana board: written by `make docs`, of metrics that there are, in queries that Prometheus takes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.metric_names import labels_of, wrong_in
from tests.support.board import BOARD, board, text
from tests.support.board_kinds import Panel
from tests.support.board_panels import ROWS
from tests.support.promtool import needs_promtool, run_promtool

PANELS = [panel for _, panels in ROWS for panel in panels]


def in_prometheus(query: str) -> str:
    """As Grafana sends it when the board shows six hours."""
    return query.replace("$__range", "21600s")


def test_the_board_is_that_of_the_panels() -> None:
    assert BOARD.read_text() == text(), "run `make docs`"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_speaks_of_metrics_and_labels_that_there_are(panel: Panel) -> None:
    for legend, query in panel.queries.items():
        assert list(wrong_in(query)) == []
        shown = set(re.findall(r"{{(\w+)}}", legend))
        assert shown <= labels_of(query) | {"instance", "service"}, (
            "a legend names a label that the query does not keep"
        )
    assert panel.says.endswith(".")


@needs_promtool
def test_prometheus_takes_each_query(tmp_path: Path) -> None:
    queries = [query for panel in PANELS for query in panel.queries.values()]
    rules = [{"record": f"panel:{at}", "expr": in_prometheus(query)} for at, query in enumerate(queries)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(queries)} rules found" in run_promtool("check", "rules", file)


@needs_promtool
def test_a_query_that_prometheus_does_not_take_is_found(tmp_path: Path) -> None:
    file = tmp_path / "panels.yaml"
    file.write_text("groups: [{name: panels, rules: [{record: 'panel:0', expr: 'sum(by (x) y)'}]}]")
    with pytest.raises(AssertionError, match="parse"):
        run_promtool("check", "rules", file)


def laid_panels() -> list[dict[str, Any]]:
    """With those inside of collapsed rows."""
    return [each for panel in board()["panels"] for each in (panel, *panel.get("panels", ()))]


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in laid_panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in laid_panels()}) == len(laid_panels())


def test_the_questions_of_an_operator_are_the_rows() -> None:
    rows = [panel["title"] for panel in json.loads(BOARD.read_text())["panels"] if panel["type"] == "row"]
    assert rows == [
        "Is it healthy?",
        "How far behind is it?",
        "What was refused, and why?",
        "What will it cost?",
        "More",
    ]


@pytest.mark.parametrize(
    "panel", [panel for panel in laid_panels() if panel["type"] == "stat"], ids=lambda p: p["title"]
)
def test_a_number_is_that_of_now_and_says_when_there_is_none(panel: dict[str, Any]) -> None:
    assert all(target["instant"] and not target["range"] for target in panel["targets"])
    defaults = panel["fieldConfig"]["defaults"]
    missing = defaults["mappings"][-1]["options"]
    assert missing["match"] == "null+nan"
    assert missing["result"]["text"] == defaults["noValue"] != "0"
    nobody = defaults["noValue"] in ("no worker", "no edge", "no query", "no instance")
    assert (missing["result"]["color"] == "red") is nobody or panel["title"] == "Alarms"


def panel_of(title: str) -> Panel:
    return next(panel for panel in PANELS if panel.title == title)


def values(query: str, at: str, *samples: tuple[str, int]) -> dict[str, Any]:
    expected = [{"labels": labels, "value": value} for labels, value in samples]
    return {"expr": in_prometheus(query), "eval_time": at, "exp_samples": expected}


@needs_promtool
def test_numbers_are_right(tmp_path: Path) -> None:
    """Series that are born late, and a table that two query services in turn tell of."""
    (disk,), (lost,) = panel_of("Disk in 30 days").queries.values(), panel_of("Lost in 24 h").queries.values()
    (refused,) = panel_of("Refused in the range").queries.values()
    by_project = panel_of("By project, in the range").queries["query seconds"]
    size = 'headrace_query_store_bytes{table="events", instance="%s"}'
    series = {
        size % "a": "0+60000x1439 stale",
        size % "b": "_x1440 86400000+60000x1440",
        'headrace_worker_lost_records_total{partition="0"}': "_x2700 500x200",
        'headrace_worker_lost_records_total{partition="1"}': "7x2900",
        'headrace_http_errors_total{service="edge", code="unauthorized"}': "_x2700 4x200",
        'headrace_http_errors_total{service="edge", code="forbidden"}': "9x2900",
        'headrace_edge_project_refused_total{project="a", code="too_deep"}': "_x2700 6x200",
        'headrace_http_errors_total{service="edge", code="illegal_id"}': "0x2700 5x200",
        'headrace_edge_project_refused_requests_total{project="b", code="illegal_id"}': "_x2700 5x200",
        'headrace_query_project_seconds_total{project="a"}': "_x2700 30x200",
        'headrace_edge_project_events_total{project="b"}': "_x2700 5x200",
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": told} for name, told in series.items()],
        "promql_expr_test": [
            values(disk, "2h"),
            values(disk, "2800m", ("{}", 60_000 * 2800 + 60_000 * 30 * 24 * 60)),
            values(lost, "2800m", ("{}", 500)),
            values(
                refused,
                "2800m",
                ('{code="too_deep", project="a", what="events of batches"}', 6),
                ('{code="illegal_id", project="b", what="whole requests"}', 5),
                ('{code="unauthorized", what="whole requests"}', 4),
            ),
            values(by_project, "2800m", ('{project="a"}', 30), ('{project="b"}', 0)),
        ],
    }
    file = tmp_path / "numbers.yaml"
    file.write_text(yaml.safe_dump({"tests": [test]}))
    run_promtool("test", "rules", file)
