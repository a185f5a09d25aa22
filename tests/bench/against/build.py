"""The two builds: the tree that this runs from, and a commit, checked out beside it with libraries of its own."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from tests.bench.stack import ROOT

_PINNED = Path("requirements") / "production.txt"
# Today's, and that of 0.1.0.
_COMMAND_LINES = (Path("services") / "cli" / "__main__.py", Path("services") / "cli.py")
_ENVIRONMENTS = ROOT / ".data" / "bench" / "environments"


class BuildError(Exception):
    """A build cannot be made ready; the message says what to change."""


class Build(Struct, frozen=True):
    """`commit` is for people. The services of the tree at `root` run in the environment of `python`."""

    commit: str
    root: Path
    python: str

    def command(self, *arguments: str) -> list[str]:
        """A call of this build's command line; needs `env`."""
        return [self.python, "-m", "services.cli", *arguments]

    @property
    def env(self) -> Mapping[str, str]:
        """The tree comes before what is installed, and the working directory does not count."""
        return {"PYTHONPATH": str(self.root), "PYTHONSAFEPATH": "1"}

    def check(self) -> None:
        """Raises BuildError when another tree's code would run."""
        code = "import services; print(list(services.__path__)[0])"
        found = _run([self.python, "-c", code], env={**os.environ, **self.env}, why="the services cannot be imported")
        if Path(found) != self.root / "services":
            raise BuildError(f"{self.commit}: the code of {found} would run, not that of {self.root}")


def this_build() -> Build:
    changed = _git("status", "--porcelain", "--", "services", "requirements", why="git does not answer")
    commit = _git("rev-parse", "--short", "HEAD", why="this tree has no commit")
    return Build(f"{commit}{' and uncommitted changes' if changed else ''}", ROOT, sys.executable)


def has_commit(name: str) -> bool:
    """Whether this clone knows it: a shallow one may not."""
    try:
        _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", why=_unknown(name))
    except BuildError:
        return False
    return True


@contextmanager
def base_build(name: str, scratch: Path) -> Iterator[Build]:
    """The commit in a folder of `scratch`, which is gone afterwards. Raises BuildError."""
    commit = _git("rev-parse", "--verify", "--quiet", "--short", f"{name}^{{commit}}", why=_unknown(name))
    root = scratch / "base"
    try:
        # No hooks: they belong to working trees of people.
        _git("-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", str(root), commit, why="no checkout")
        if not any((root / file).exists() for file in _COMMAND_LINES):
            raise BuildError(
                f"{commit} has no services/cli: it is older than the command line that starts the services."
            )
        yield Build(commit, root, _python_for(root))
    finally:
        # Also after half a checkout; a second Ctrl-C must not leave git's note of it behind.
        _quietly("worktree", "remove", "--force", "--force", str(root))


def _unknown(name: str) -> str:
    return (
        f"{name} is no commit of this repository. Give a hash, a branch or a tag (`git log --oneline` lists them); "
        "a shallow clone gets the older ones by `git fetch --unshallow`"
    )


def _python_for(root: Path) -> str:
    """This interpreter where the pinned libraries are the same, else one with the tree's own, kept for the next time."""
    pinned = (root / _PINNED).read_bytes()
    if pinned == (ROOT / _PINNED).read_bytes():
        return sys.executable
    folder = _ENVIRONMENTS / hashlib.sha256(pinned + sys.version.encode()).hexdigest()[:16]
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], why="no environment")
        install = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(python),
            "--require-hashes",
            "--only-binary",
            ":all:",
        ]
        _run([*install, "-r", str(root / _PINNED)], why="the base's libraries cannot be installed")
        ready.touch()
    return str(python)


def _git(*arguments: str, why: str) -> str:
    return _run(["git", "-C", str(ROOT), *arguments], why=why)


def _quietly(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False, start_new_session=True)  # noqa: S603, S607


def _run(command: Sequence[str], *, why: str, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)  # noqa: S603
    if done.returncode != 0:
        raise BuildError(f"{why}. {done.stderr.strip()[-600:]}".strip().rstrip(".") + ".")
    return done.stdout.strip()
