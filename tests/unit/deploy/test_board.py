"""The Grafana board: written by `make docs`, of metrics that there are, in queries that Prometheus takes."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.support.board import BOARD, board, text
from tests.support.board_panels import ROWS, Panel
from tests.support.promtool import needs_promtool, run_promtool
from tests.unit.deploy.metric_names import labels_of, wrong_in

PANELS = [panel for _, panels in ROWS for panel in panels]


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
    rules = [{"record": f"panel:{at}", "expr": query} for at, query in enumerate(queries)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(queries)} rules found" in run_promtool("check", "rules", file)


@needs_promtool
def test_a_query_that_prometheus_does_not_take_is_found(tmp_path: Path) -> None:
    file = tmp_path / "panels.yaml"
    file.write_text("groups: [{name: panels, rules: [{record: 'panel:0', expr: 'sum(by (x) y)'}]}]")
    with pytest.raises(AssertionError, match="parse"):
        run_promtool("check", "rules", file)


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in board()["panels"]}) == len(board()["panels"])


def test_the_questions_of_an_operator_are_the_rows() -> None:
    rows = [panel["title"] for panel in json.loads(BOARD.read_text())["panels"] if panel["type"] == "row"]
    assert rows == [
        "Is it healthy?",
        "How far behind is it?",
        "What was refused, and why?",
        "What will it cost?",
    ]
