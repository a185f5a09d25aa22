"""The checkout of the base: a commit in a folder of its own, gone afterwards however it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.against import build
from tests.bench.against.build import BuildError, base_build, this_build


def _git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(repository), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three commits: an empty one, v1 with a command line, and another with other libraries."""
    root = tmp_path / "repository"
    root.mkdir()
    _git(root, "init", "--quiet")
    _git(root, "commit", "--quiet", "--allow-empty", "-m", "empty")
    _git(root, "tag", "v0")
    (root / "services").mkdir()
    (root / "services" / "__init__.py").touch()
    (root / "services" / "cli.py").write_text("print('one')\n")
    (root / "requirements").mkdir()
    (root / "requirements" / "production.txt").write_text("one==1\n")
    _git(root, "add", ".")
    _git(root, "commit", "--quiet", "-m", "one")
    _git(root, "tag", "v1")
    monkeypatch.setattr(build, "ROOT", root)
    return root


def _worktrees(repository: Path) -> int:
    return len(_git(repository, "worktree", "list").splitlines())


def test_the_commit_s_own_code_runs(repository: Path, tmp_path: Path) -> None:
    (repository / "services" / "cli.py").write_text("print('two')\n")
    with base_build("v1", tmp_path) as base:
        base.check()
        done = subprocess.run(base.command(), env={**base.env}, cwd=repository, capture_output=True, check=True)  # noqa: S603
        assert done.stdout == b"one\n"
        assert base.python == sys.executable  # the libraries are the same
        assert base.commit == _git(repository, "rev-parse", "--short", "v1")


def test_nothing_is_left_behind(repository: Path, tmp_path: Path) -> None:
    with base_build("v1", tmp_path) as base:
        assert (base.root / "services" / "cli.py").exists()
    assert not base.root.exists()
    assert _worktrees(repository) == 1


def test_nothing_is_left_behind_after_an_interruption(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), base_build("v1", tmp_path) as base:
        raise KeyboardInterrupt
    assert not base.root.exists()
    assert _worktrees(repository) == 1


@pytest.mark.parametrize("name", ["nothing", "0123456", "", "--help", "v1:services"])
def test_an_unknown_commit_is_refused(repository: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(BuildError, match="is no commit of this repository"), base_build(name, tmp_path):
        pass
    assert _worktrees(repository) == 1


def test_a_commit_without_a_command_line_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="has no services/cli"), base_build("v0", tmp_path):
        pass
    assert _worktrees(repository) == 1


def test_code_of_another_tree_is_noticed(repository: Path, tmp_path: Path) -> None:
    with base_build("v1", tmp_path) as base:
        for file in (base.root / "services").iterdir():
            file.unlink()
        (base.root / "services").rmdir()
        with pytest.raises(BuildError, match=r"would run|cannot be imported"):
            base.check()


def test_uncommitted_changes_are_named(repository: Path) -> None:
    assert this_build().commit == _git(repository, "rev-parse", "--short", "HEAD")
    (repository / "services" / "cli.py").write_text("print('two')\n")
    assert this_build().commit.endswith(" and uncommitted changes")
