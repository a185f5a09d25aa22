"""What CONTRIBUTING.md says of the tiers of tests is so."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TESTS = ROOT / "tests"


def test_each_tier_is_described() -> None:
    tiers = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")}
    described = set(re.findall(r"^\| \w+ \| `tests/(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert described == tiers | {"bench"}


def test_properties_are_slow_tests() -> None:
    """Hypothesis takes a while to load, and its profile is not the one of `tests/slow` here."""
    found = [
        path
        for path in (TESTS / "unit").rglob("*.py")
        if re.search("^(from|import) hypothesis", path.read_text(), re.M)
    ]
    assert found == []


def test_what_a_commit_is_checked_with_has_both_tiers() -> None:
    assert re.search(r"^check: lint unit slow\b", (ROOT / "Makefile").read_text(), re.M)
    hooks = re.findall(r"entry: make (\w+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert hooks == ["lint", "unit", "slow"]
