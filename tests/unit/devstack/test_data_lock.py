"""The data directory is for its owner; a directory that holds other things is left as it is."""

from pathlib import Path

import pytest

from services.devstack.data_lock import DataInUseError, locked, make_private, write_private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("found", ["nothing", "empty", "used before"])
def test_a_directory_of_ours_becomes_private(tmp_path: Path, found: str) -> None:
    data = tmp_path / "data"
    if found != "nothing":
        data.mkdir(mode=0o755)
    if found == "used before":
        (data / "lock").touch()
    with locked(data):
        assert mode(data) == 0o700
        with pytest.raises(DataInUseError), locked(data):
            pass


def test_a_directory_with_other_things_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "something").touch()
    make_private(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("before")
    file.chmod(0o644)
    write_private(file, "after")
    assert (file.read_text(), mode(file)) == ("after", 0o600)
    assert list(tmp_path.iterdir()) == [file]
