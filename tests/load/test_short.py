"""The short form of `make load`, where a Docker engine answers: few events, a worker and an edge killed on the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.load.engine import PYTHON
from tests.load.stack import ROOT
from tests.support.engine import docker_answers

_OPTIONS = ("--rate", "500", "--seconds", "40", "--warm-up", "5", "--kill")


def test_a_short_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    if not docker_answers():
        pytest.skip("no Docker engine answers")
    if not PYTHON.exists():
        pytest.skip("the producers are not installed: `make load` installs them")
    command = [sys.executable, "-m", "tests.load", *_OPTIONS, "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)  # noqa: S603
    assert (tmp_path / "report.json").exists(), done.stdout + done.stderr
    print(done.stdout)
    report = json.loads((tmp_path / "report.json").read_text())
    verdict = report["verdict"]
    assert verdict["accepted"] == verdict["stored"] > 0
    assert (verdict["lost"], verdict["doubled"], verdict["foreign"], verdict["unanswered"]) == (0, 0, 0, 0)
    assert [recovery["name"] for recovery in report["recoveries"]] == ["worker-1", "edge-1"]
    assert report["unexpected"] == []
    assert (tmp_path / "report.html").exists()
