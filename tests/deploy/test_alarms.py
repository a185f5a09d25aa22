"""The alarms: each speaks of metrics that there are, fires where it should, and has a page that says what to do."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.env_file import DEPLOY, ROOT
from tests.deploy.metric_names import labels_by_series, series_of, wrong_in
from tests.support.board_panels import ROWS
from tests.support.promtool import needs_promtool, run_promtool

PROMETHEUS = DEPLOY / "prometheus"
CASES = PROMETHEUS / "tests" / "alarms.yaml"
BORN_LATE = CASES.with_name("born-late.yaml")
PAGES = ROOT / "docs" / "how-to" / "alarms"
GUIDE = ROOT / "docs" / "how-to" / "metrics-and-alarms.md"
_HEADINGS = ["What it means", "What is at stake", "Look here", "Do this"]


def rules() -> Iterator[dict[str, Any]]:
    for path in sorted(PROMETHEUS.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def page_of(alert: str) -> Path:
    return PAGES / f"{re.sub('(?<!^)(?=[A-Z])', '-', alert.removeprefix('Headrace')).lower()}.md"


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule["alert"])
def test_a_rule_speaks_of_metrics_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    assert series_of(rule["expr"])
    assert list(wrong_in(rule["expr"])) == []
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("headrace_edge_evnts_total > 0", "no service has headrace_edge_evnts_total"),
        ("headrace_edge_ack_seconds > 0", "no service has headrace_edge_ack_seconds"),
        ("sum by (tipic) (headrace_worker_lag_records)", "no series of the query has the label tipic"),
        ('headrace_worker_store_up{reason="x"} == 0', "no series of the query has the label reason"),
    ],
)
def test_a_name_that_there_is_not_is_found(query: str, wrong: str) -> None:
    assert list(wrong_in(query)) == [wrong]


def test_rules_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule["alert"])
def test_each_alarm_has_its_page(rule: dict[str, Any]) -> None:
    page = page_of(rule["alert"])
    assert rule["annotations"]["runbook"] == str(page.relative_to(ROOT))
    text = page.read_text()
    assert re.findall("^## (.*)$", text, re.MULTILINE) == _HEADINGS
    assert f"`{rule['alert']}`" in text
    assert f"| {rule['labels']['severity']} |" in text
    assert f"]({page.relative_to(GUIDE.parent)})" in GUIDE.read_text(), "the guide does not lead to the page"


def test_pages_name_panels_of_the_board() -> None:
    shown = {panel.title for _, panels in ROWS for panel in panels} | {title for title, _ in ROWS}
    for page in PAGES.glob("*.md"):
        lines = [line for line in page.read_text().splitlines() if "board's" in line]
        named = {name for line in lines for name in re.findall(r"\*([^*]+)\*", line)}
        assert named <= shown, page.name
        assert bool(named) == bool(lines), f"{page.name}: which panel?"


def test_each_page_is_of_an_alarm() -> None:
    assert {path.name for path in PAGES.glob("*.md")} == {page_of(rule["alert"]).name for rule in rules()}


def test_what_the_guide_says_to_alarm_on_has_a_rule() -> None:
    section = GUIDE.read_text().partition("## What to alarm on")[2].partition("\n## ")[0]
    signs = {name for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) for name in series_of(row)}
    in_rules = {name for rule in rules() for name in series_of(rule["expr"])}
    assert len(signs) > 20
    assert {name for name in signs if name in labels_by_series()} <= in_rules
    assert signs <= set(labels_by_series()) | {"headrace_edge_ack_seconds"}


def test_each_alarm_is_made_to_fire() -> None:
    cases = yaml.safe_load(CASES.read_text())["tests"]
    assert sorted(case["name"] for case in cases) == sorted(rule["alert"] for rule in rules())
    for case in cases:
        (test,) = case["promql_expr_test"]
        assert f'alertname="{case["name"]}", alertstate="firing"' in test["expr"]
        assert len(test["exp_samples"]) == 1
        # One fires, and another one does not.
        assert len(case["input_series"]) > 1


def test_each_alarm_on_a_counter_is_made_to_fire_by_a_series_that_is_born_late() -> None:
    cases = yaml.safe_load(BORN_LATE.read_text())["tests"]
    on_counters = {rule["alert"]: series_of(rule["expr"]) for rule in rules() if "_total" in rule["expr"]}
    assert {case["name"] for case in cases} == on_counters.keys()
    for case in cases:
        fires, is_over = case["promql_expr_test"]
        assert f'alertname="{case["name"]}", alertstate="firing"' in fires["expr"]
        assert fires["exp_samples"]
        assert not is_over["exp_samples"]


@needs_promtool
def test_prometheus_takes_rules_and_configuration() -> None:
    run_promtool("check", "config", PROMETHEUS / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("cases", [CASES, BORN_LATE], ids=lambda cases: cases.stem)
def test_alarms_fire_where_they_should(cases: Path) -> None:
    run_promtool("test", "rules", cases)


@needs_promtool
def test_an_alarm_that_does_not_fire_is_found(tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    alerts = tmp_path / "prometheus" / "alerts.yaml"
    alerts.write_text(alerts.read_text().replace("headrace_worker_store_up == 0", "headrace_worker_store_up == 2"))
    with pytest.raises(AssertionError, match="HeadraceStoreDown"):
        run_promtool("test", "rules", tmp_path / "prometheus" / "tests" / "alarms.yaml")
