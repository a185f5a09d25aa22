"""The list of packages is whole, and an audit that looked nothing up does not pass for a good one."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import services
from tests.support.packages import FOUND, NOT_AUDITED, PACKAGES, audit, write_sbom

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
PASSED_OVER = {"name": "c", "skip_reason": "not found"}


def test_every_pinned_package_is_listed_with_its_hashes(tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("".join(re.findall(r"^(?:\S+==.*\n(?: {4}.*\n)+)", PACKAGES.read_text(), re.MULTILINE)[:3]))
    files = [tmp_path / name for name in ("first.json", "second.json")]
    assert [write_sbom(file, few) for file in files] == [3, 3]
    assert files[0].read_bytes() == files[1].read_bytes()
    content = json.loads(files[0].read_text())
    assert content["metadata"]["component"]["version"] == services.__version__
    named = {f"{one['name']}=={one['version']}" for one in content["components"]}
    assert named == set(re.findall(r"^(\S+==\S+)", few.read_text(), re.MULTILINE))
    assert all(one["externalReferences"][0]["hashes"] for one in content["components"])


@pytest.mark.parametrize(
    ("dependencies", "status", "said"),
    [
        ([GOOD], 0, "1 packages looked up, 0 known"),
        ([GOOD, BAD], FOUND, "b 2: CVE-1; fixed in 3"),
        ([GOOD, PASSED_OVER], NOT_AUDITED, "NOT AUDITED: 1 of 2 packages"),
        ([BAD, PASSED_OVER], FOUND, "NOT AUDITED: 1 of 2 packages"),
        (None, NOT_AUDITED, "NOT AUDITED: no database"),
    ],
)
def test_an_audit_says_what_it_could_not_look_up(
    dependencies: list[dict[str, Any]] | None, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pip-audit does it: with status 0 where it passed everything over."""
    answer = "" if dependencies is None else json.dumps({"dependencies": dependencies, "fixes": []})
    assert audit(pip_audit=[sys.executable, "-c", f"print({answer!r})"]) == status
    assert said in capsys.readouterr().out
