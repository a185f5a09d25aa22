"""The list of packages is whole, and an audit that looked nothing up does not pass for a good one."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import services
from tests.support.packages import FOUND, NOT_AUDITED, PACKAGES, ROOT, audit, write_sbom

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
PASSED_OVER = {"name": "c", "skip_reason": "not found"}


def test_every_pinned_package_is_listed_with_its_hashes(tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("".join(re.findall(r"^(?:\S+==.*\n(?: {4}.*\n)+)", PACKAGES.read_text(), re.MULTILINE)[:3]))
    assert write_sbom(tmp_path / "sbom.json", few, "--no-validate") == 3
    content = json.loads((tmp_path / "sbom.json").read_text())
    assert not {"serialNumber", "timestamp"} & (content.keys() | content["metadata"].keys()), "differs from run to run"
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


def test_the_image_is_built_of_pinned_inputs() -> None:
    dockerfile, recipe = (
        (ROOT / "deploy" / "Dockerfile").read_text(),
        _made("image", f"BASE_IMAGE=python@sha256:{'0' * 64}"),
    )
    for argument in re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE):
        assert f"--build-arg {argument}=" in recipe.stdout, argument
    assert "rewrite-timestamp=true" in recipe.stdout
    assert re.search(r"SOURCE_DATE_EPOCH=\d+ ", recipe.stdout)
    assert "touch --no-dereference --date=@${SOURCE_DATE_EPOCH}" in dockerfile


def test_an_image_of_a_base_that_may_change_is_refused() -> None:
    refused = _made("image", "BASE_IMAGE=python:3.11-slim", dry=False)
    assert refused.returncode != 0
    assert "set BASE_IMAGE to a base with its digest" in refused.stdout


def _made(*words: str, dry: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *(["--dry-run"] if dry else []), *words]
    return subprocess.run(  # noqa: S603 our own Makefile
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
