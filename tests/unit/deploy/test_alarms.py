"""The alarm rules speak of metrics that there are."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.unit.deploy.env_file import DEPLOY

SERVICES = Path(__file__).resolve().parents[3] / "services"
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
