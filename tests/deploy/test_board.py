"""The Grafana board: written by `make docs`, of metrics that there are, in queries that Prometheus takes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.metric_names import labels_of, wrong_in
from tests.deploy.test_alarms import rules
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


def values(query: str, at: str, *samples: tuple[str, float]) -> dict[str, Any]:
    expected = [{"labels": labels, "value": value} for labels, value in samples]
    return {"expr": in_prometheus(query), "eval_time": at, "exp_samples": expected}


def is_told(folder: Path, series: dict[str, str], *expected: dict[str, Any]) -> None:
    told = [{"series": name, "values": values} for name, values in series.items()]
    file = folder / "numbers.yaml"
    file.write_text(
        yaml.safe_dump({"tests": [{"interval": "1m", "input_series": told, "promql_expr_test": [*expected]}]})
    )
    run_promtool("test", "rules", file)


@needs_promtool
def test_alarms_that_fire_and_those_that_are_about_to_are_told_apart(tmp_path: Path) -> None:
    alarms, age = panel_of("Alarms").queries, panel_of("Alarms that fire").queries["age"]
    lag = 'alertname="HeadraceLagGrows", severity="warning", partition="%s"'
    series = {
        f'ALERTS{{{lag % 0}, alertstate="firing"}}': "1x20",
        f"ALERTS_FOR_STATE{{{lag % 0}}}": "60x20",
        f'ALERTS{{{lag % 1}, alertstate="pending"}}': "1x20",
        f"ALERTS_FOR_STATE{{{lag % 1}}}": "120x20",
        'ALERTS{alertname="OfOthers", severity="critical", alertstate="firing"}': "1x20",
    }
    is_told(
        tmp_path,
        series,
        values(alarms["critical"], "10m", ("{}", 0)),
        values(alarms["warning"], "10m", ("{}", 1)),
        values(alarms["pending"], "10m", ("{}", 1)),
        values(age, "10m", (f"{{{lag % 0}}}", 540)),
    )


@needs_promtool
def test_what_is_refused_now_is_a_share_of_all(tmp_path: Path) -> None:
    now = panel_of("Refused now").queries
    hour = panel_of("Refused requests in 1 h").queries["now"]
    series = {
        'headrace_edge_events_total{call="batch", result="accepted"}': "0+900x100 90000x100",
        'headrace_edge_events_total{call="batch", result="rejected"}': "0+60x100 6000x100",
        'headrace_edge_events_total{call="segment", result="put_aside"}': "0+40x100 4000x100",
        'headrace_http_errors_total{service="edge", code="unauthorized"}': "0+3x100 300x100",
        'headrace_http_errors_total{service="edge", code="log_unavailable"}': "0+2x100 200x100",
        'headrace_http_errors_total{service="edge", code="not_found"}': "0+5x100 500x100",
        'headrace_http_errors_total{service="query", code="invalid_filter"}': "0+9x100 900x100",
        'headrace_edge_request_seconds_count{call="batch"}': "0+50x100 5000x100",
    }
    is_told(
        tmp_path,
        series,
        values(f"round({now['events']}, 0.001)", "90m", ("{}", 0.1)),
        values(f"round({now['requests']}, 0.001)", "90m", ("{}", 0.1)),
        values(f"round({hour}, 0.001)", "90m", ("{}", 0.2)),
        # Nobody sends any more: 0, and not no number.
        values(now["events"], "150m", ("{}", 0)),
        values(now["requests"], "150m", ("{}", 0)),
    )


@needs_promtool
def test_costs_at_this_rate_are_there_within_minutes(tmp_path: Path) -> None:
    by_project = panel_of("By project, in the range").queries
    titles = ("Events a day at this rate", "Disk a day at this rate", "Kafka's disk at this rate")
    events, disk, kafka = (panel_of(title).queries["now"] for title in titles)
    series = {
        'headrace_edge_events_total{call="batch", result="accepted"}': "0+600x10",
        "headrace_worker_rows_total": "0+600x30 0+600x30",
        'headrace_query_store_bytes{table="events"}': "50000x60",
        'headrace_query_store_rows{table="events"}': "500x60",
        'headrace_query_store_bytes{table="people"}': "70000x10",
        'headrace_edge_project_bytes_total{project="a"}': "0+60000x10",
        'headrace_worker_retention_seconds{topic="headrace.events"}': "3600x10",
        'headrace_worker_retention_seconds{topic="headrace.identity"}': "7200x10",
        'headrace_edge_project_events_total{project="a"}': "0+600x10",
        'headrace_edge_project_refused_total{project="a", code="too_deep"}': "0+200x10",
        'headrace_edge_project_refused_total{project="b", code="too_deep"}': "0+60x10",
    }
    is_told(
        tmp_path,
        series,
        values(events, "5m", ("{}", 864_000)),
        values(disk, "5m", ("{}", 86_400_000)),
        # The worker was started again within the last 15 minutes; one of them counts for nothing.
        values(f"round({disk}, 1e6)", "40m", ("{}", 81_000_000)),
        values(kafka, "5m", ("{}", 3_600_000)),
        values(by_project["disk a day"], "5m", ('{project="a"}', 86_400_000), ('{project="b"}', 0)),
        values(by_project["share refused"], "5m", ('{project="a"}', 0.25), ('{project="b"}', 1)),
    )


@needs_promtool
def test_when_a_quota_will_be_full(tmp_path: Path) -> None:
    series = {
        'headrace_edge_quota_used_ratio{instance="1", project="grows"}': "0+0.01x60",
        'headrace_edge_quota_used_ratio{instance="2", project="grows"}': "0+0.01x60",
        'headrace_edge_quota_used_ratio{instance="1", project="rests"}': "0.9x60",
        'headrace_edge_quota_used_ratio{instance="1", project="over"}': "0.7+0.01x60",
    }
    full_in = f"round({panel_of('Quotas, now').queries['full in']})"
    is_told(tmp_path, series, values(full_in, "50m", ('{project="grows"}', 3000), ('{project="over"}', 0)))


def test_columns_that_are_dressed_are_there() -> None:
    tables = [panel for panel in PANELS if panel.kind == "table"]
    assert {name for panel in tables for name in panel.limits_of} == {"share refused", "used"}
    for panel in tables:
        assert {*panel.units, *panel.limits_of} <= set(panel.queries), panel.title


def test_the_table_of_alarms_says_what_each_means() -> None:
    panel = next(panel for panel in laid_panels() if panel["title"] == "Alarms that fire")
    (texts,) = [
        each["properties"][0]["value"][0]["options"]
        for each in panel["fieldConfig"]["overrides"]
        if each["matcher"]["options"] == "alarm"
    ]
    assert texts.keys() == {rule["alert"] for rule in rules()}
    assert texts["HeadraceStoreDown"]["text"] == "ClickHouse is away (store-down.md)"
    organize = panel["transformations"][1]["options"]
    assert organize["renameByName"] == {"Value": "age", "alertname": "alarm"}
    assert sorted(organize["indexByName"], key=organize["indexByName"].__getitem__)[:4] == [
        "severity",
        "alertname",
        "project",
        "Value",
    ]


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
    is_told(
        tmp_path,
        series,
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
    )
