"""Parts are waited for together: one that dies is named at once, with the end of its log, whoever is waited for."""

import sys
from pathlib import Path

import pytest

from services.devstack.child_process import ChildFailedError, ChildProcess
from services.devstack.parts import Part, Parts

STAYS = "import time; time.sleep(60)"
WRITES_AND_STAYS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
DIES = "print('no such table'); raise SystemExit(3)"


class Troupe:
    """Parts made of one-line Python programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.parts = Parts(self.said.append)

    def part(self, name: str, program: str, *arguments: str, ready: Path | None = None) -> Part:
        command = [sys.executable, "-c", program, *arguments]
        child = ChildProcess(name, command, log=self.folder / f"{name}.log")
        return Part(child, child.start, lambda: ready is None or ready.exists())


@pytest.fixture
def troupe(tmp_path: Path) -> Troupe:
    return Troupe(tmp_path)


def test_ready_parts_are_announced(troupe: Troupe, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    parts = [
        troupe.parts.start(troupe.part("first", WRITES_AND_STAYS, str(mark), ready=mark)),
        troupe.parts.start(troupe.part("second", STAYS)),
    ]
    try:
        troupe.parts.wait_until_ready(parts, timeout_s=20)
        assert sorted(troupe.said) == ["first is ready", "second is ready"]
        assert troupe.parts.are_running("first", "second")
        assert not troupe.parts.are_running("first", "third")
    finally:
        troupe.parts.stop_all(timeout_s=5)
    assert not troupe.parts.are_running("first")
    assert [part.child.poll() for part in parts] == [-15, -15]


def test_the_death_of_any_part_is_told(troupe: Troupe, tmp_path: Path) -> None:
    waited_for = troupe.parts.start(troupe.part("healthy", STAYS, ready=tmp_path / "never"))
    troupe.parts.start(troupe.part("sick", DIES))
    with pytest.raises(ChildFailedError, match=r"sick ended with status 3:\nno such table"):
        troupe.parts.wait_until_ready([waited_for], timeout_s=20)
    with pytest.raises(ChildFailedError, match="sick"):
        troupe.parts.watch()
    troupe.parts.stop_all(timeout_s=5)


def test_a_part_that_takes_too_long(troupe: Troupe, tmp_path: Path) -> None:
    late = troupe.parts.start(troupe.part("late", STAYS, ready=tmp_path / "never"))
    with pytest.raises(ChildFailedError, match=r"late was not ready after 0\.1 s"):
        troupe.parts.wait_until_ready([late], timeout_s=0.1)
    troupe.parts.stop_all(timeout_s=5)


def test_a_part_that_does_not_stop_is_killed(troupe: Troupe, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program = "import signal; signal.signal(15, signal.SIG_IGN); " + WRITES_AND_STAYS
    deaf = troupe.parts.start(troupe.part("deaf", program, str(mark), ready=mark))
    troupe.parts.wait_until_ready([deaf], timeout_s=20)
    troupe.parts.stop("deaf", timeout_s=0.1)
    assert deaf.child.poll() == -9


def test_the_log_of_the_last_run_is_kept(troupe: Troupe) -> None:
    for _ in range(3):
        part = troupe.parts.start(troupe.part("talks", "print('x')"))
        with pytest.raises(ChildFailedError, match="talks ended with status 0"):
            part.child.wait_until(lambda: False, timeout_s=20)
    assert part.child.log.read_text() == "x\n"
    assert part.child.log.with_name("talks.log.1").read_text() == "x\n"
