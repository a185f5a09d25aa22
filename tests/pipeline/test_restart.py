"""The development stack as a process: it stops cleanly, serves the same events again, and says what is wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from services.devstack.child_process import free_port
from tests.support.pipeline import KEY, Pipeline, eventually, started_pipeline, stop

WINDOW = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}


def send(pipeline: Pipeline, count: int, prefix: str) -> None:
    events = [
        {
            "event": "kept",
            "distinct_id": f"{prefix}{i}",
            "timestamp": "2026-01-15T00:00:00Z",
            "idempotency_key": f"{prefix}{i}",
        }
        for i in range(count)
    ]
    assert pipeline.ask("/batch", {"events": events})["accepted"] == count


def test_a_second_start_serves_the_same_events_and_knows_their_keys(tmp_path: Path) -> None:
    with started_pipeline(tmp_path, "embedded") as first:
        send(first, 500, "a")
        # Not waited for: what was accepted must be stored by the stop itself, the broker forgets it.
    with started_pipeline(tmp_path, "embedded") as second:
        assert len(second.walk(WINDOW)) == 500
        send(second, 500, "a")
        send(second, 10, "b")
        eventually(lambda: len(second.walk(WINDOW)), lambda count: count >= 510)
        assert len(second.walk(WINDOW)) == 510


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_with_status_0_and_nothing_left_running(tmp_path: Path, number: signal.Signals) -> None:
    with started_pipeline(tmp_path, "embedded") as pipeline:
        children = psutil.Process(pipeline.process.pid).children(recursive=True)
        assert len(children) >= 5
        assert stop(pipeline.process, number) == 0
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == []


def test_when_one_part_dies_the_stack_says_which_and_ends(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "INFRAI_API_KEY": KEY,
        "HEADRACE_PORT": str(port),
        "HEADRACE_DATA": str(tmp_path),
        "HEADRACE_BROKER": "embedded",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "dev"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready "):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    query = next(child for child in children if "query" in child.cmdline())
    query.kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "query" in output
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with started_pipeline(tmp_path / "first", "embedded") as pipeline:
        taken = str(httpx.URL(pipeline.base_url).port)
        second = subprocess.run(
            [sys.executable, "-m", "services.cli", "dev"],
            env={**os.environ, "HEADRACE_PORT": taken, "HEADRACE_DATA": str(tmp_path / "second")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert "HEADRACE_PORT" in second.stdout + second.stderr
