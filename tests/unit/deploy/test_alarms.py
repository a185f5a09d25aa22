"""The alarm rules speak of metrics that there are."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.unit.deploy.env_file import DEPLOY, ROOT

SERVICES = ROOT / "services"
GUIDE = ROOT / "docs" / "how-to" / "metrics-and-alarms.md"
_METRIC = re.compile(r"headrace_\w+")
# What Prometheus' client adds to a name.
_SUFFIXES = ("_total", "_bucket", "_sum", "_count")


def rules() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "prometheus").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def base(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)


def declared_metrics() -> set[str]:
    sources = "\n".join(path.read_text() for path in SERVICES.rglob("*.py"))
    return {base(name) for name in re.findall(r'\(\s*"(headrace_\w+)"', sources)}


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule["alert"])
def test_a_rule_speaks_of_metrics_that_there_are(rule: dict[str, Any]) -> None:
    named = {base(name) for name in _METRIC.findall(rule["expr"])}
    assert named
    assert named <= declared_metrics()
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]


def test_rules_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)


def test_what_the_guide_says_to_alarm_on_has_a_rule() -> None:
    section = GUIDE.read_text().partition("## What to alarm on")[2].partition("\n## ")[0]
    signs = {base(name) for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) for name in _METRIC.findall(row)}
    in_rules = {base(name) for rule in rules() for name in _METRIC.findall(rule["expr"])}
    assert len(signs) > 10
    assert signs <= in_rules
