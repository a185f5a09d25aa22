"""The development stack at its edges: wrong settings, a second start, a broker of one's own, ends of all kinds."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from services.devstack.broker import EmbeddedBroker
from services.devstack.child_process import free_port


@contextmanager
def stack(data: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`headrace dev` with standard output and error in one pipe; killed at the end if it still runs."""
    inherited = {name: value for name, value in os.environ.items() if name != "INFRAI_API_KEY"}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "dev"],
        env={**inherited, "HEADRACE_PORT": str(free_port()), "HEADRACE_DATA": str(data), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], beginning: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(beginning):
            return lines
    raise AssertionError("\n".join(lines))


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADRACE_PORT", "http"),
        ("HEADRACE_PORT", "70000"),
        ("HEADRACE_BROKER", "kafka"),
        ("HEADRACE_BROKER", "localhost"),
        ("INFRAI_API_KEY", "two words"),
        ("INFRAI_API_KEY", "hr_sesame"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, variable: str, value: str) -> None:
    with stack(tmp_path, **{variable: value}) as process:
        status, output = outcome(process)
    assert status == 1
    assert re.fullmatch(f"headrace: {variable}: .*\n", output)
    assert value not in output.removeprefix(f"headrace: {variable}") or value.isdecimal()


def test_a_start_without_a_key_a_second_start_and_kill_9(tmp_path: Path) -> None:
    with stack(tmp_path) as process:
        lines = lines_until(process, "ready ")
        key = (tmp_path / "key").read_text()
        assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
        assert lines[-2] == f"export INFRAI_API_KEY={key}"
        assert [line for line in lines if line.startswith("ready ")] == lines[-1:]
        base_url = lines[-1].removeprefix("ready ")
        assert lines_until(process, "console: ") == [f"console: {base_url}/console/sign-in#key={key}"]
        assert "Project key" in httpx.get(f"{base_url}/", follow_redirects=True, timeout=30).text
        assert keys_of(tmp_path) == {"development"}
        shared = [str(path) for path in tmp_path.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077]
        assert (shared, tmp_path.stat().st_mode & 0o777) == ([], 0o700)
        authorization = {"authorization": f"Bearer {key}"}
        event = {"event": "e", "distinct_id": "d"}
        answer = httpx.post(f"{base_url}/v1/analytics/track", json=event, headers=authorization, timeout=30)
        assert answer.json() == {"ok": True, "accepted": 1}

        with stack(tmp_path) as second:
            assert outcome(second) == (
                1,
                f"headrace: another process uses the data directory {tmp_path}; stop it first\n",
            )

        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


def keys_of(data: Path) -> set[str]:
    """The projects that have keys, as the commands of `headrace` see them with the file `env` of the data directory."""
    command = f"set -a; . {data}/env; COLUMNS=200 exec {sys.executable} -m services.cli keys list"
    listed = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, timeout=60)  # noqa: S603, S607
    return {line.split("│")[2].strip() for line in listed.stdout.splitlines() if "│" in line}


def test_a_signal_while_it_starts(tmp_path: Path) -> None:
    with stack(tmp_path) as process:
        lines_until(process, "clickhouse is ready")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        status, output = outcome(process)
    assert (status, "Traceback" in output) == (0, False)
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_broker_of_ones_own(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "broker.log") as broker:
        own = {
            "HEADRACE_BROKER": broker.bootstrap,
            "HEADRACE_KAFKA_IDEMPOTENCE": "false",
            "HEADRACE_WORKER_SESSION_TIMEOUT_S": "6",
            "INFRAI_API_KEY": "a-key-of-mine-3f9a0c1e77b2d4",
        }
        with stack(tmp_path / "data", **own) as process:
            lines = lines_until(process, "ready ")
            assert not any(line.startswith("export ") for line in lines)
            assert not (tmp_path / "data" / "key").exists()
            process.send_signal(signal.SIGTERM)
            assert outcome(process)[0] == 0
        assert broker.answers()
