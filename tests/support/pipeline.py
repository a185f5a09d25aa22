"""The whole pipeline as a user has it: `headrace dev` as a process, asked over HTTP. One a broker and test session."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from services.devstack.child_process import free_port

T = TypeVar("T")
READY_TIMEOUT_S = 180
KEY = "hr_key_of_the_tests_0123456789abcdef"


class Pipeline:
    """A running development stack. `client` speaks for the development project, with both scopes."""

    def __init__(self, process: subprocess.Popen[str], base_url: str, data_dir: Path, broker: str) -> None:
        self.process = process
        self.base_url = base_url
        self.data_dir = data_dir
        self.broker = broker
        self.client = httpx.Client(
            base_url=f"{base_url}/v1/analytics", headers={"authorization": f"Bearer {KEY}"}, timeout=60
        )

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.client.post(path, json=body, **options)

    def ask(self, path: str, body: Any) -> Any:
        """The answer of a call that must succeed."""
        response = self.post(path, body)
        assert response.status_code == 200, response.text
        return response.json()

    def walk(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """All pages of an events query."""
        events: list[dict[str, Any]] = []
        page = self.ask("/query/events", query)
        events += page["events"]
        while "next_cursor" in page:
            page = self.ask("/query/events", {**query, "cursor": page["next_cursor"]})
            events += page["events"]
        return events


@contextmanager
def started_pipeline(data_dir: Path, broker: str) -> Iterator[Pipeline]:
    """Start, wait for the line that begins with `ready `, and stop; stopping must end with status 0."""
    port = free_port()
    environment = {
        **os.environ,
        "INFRAI_API_KEY": KEY,
        "HEADRACE_PORT": str(port),
        "HEADRACE_DATA": str(data_dir),
        "HEADRACE_BROKER": broker,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "dev"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        pipeline = Pipeline(process, _await_ready(process), data_dir, broker)
        with pipeline.client:
            yield pipeline
    finally:
        status = stop(process)
    assert status == 0, f"the stack ended with status {status}"


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    """Ask the stack to stop; its exit status."""
    if process.poll() is None:
        process.send_signal(number)
    process.communicate(timeout=90)
    return process.returncode


def eventually(attempt: Callable[[], T], accept: Callable[[T], bool], within_s: float = 20) -> T:
    """Attempt until the result is accepted; the last result is in the failure."""
    deadline = time.monotonic() + within_s
    while True:
        result = attempt()
        if accept(result):
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s; the last result: {str(result)[:2000]}")
        time.sleep(0.05)


def _await_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("ready "):
            return line.split()[1]
    raise AssertionError(f"the stack ended before it was ready (status {process.wait()}):\n{''.join(seen)}")
