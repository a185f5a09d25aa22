"""One address for all: no path at its root is that of an SDK too, whichever families are on."""

import pytest

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.root_paths import CONSOLE_PATH, ROOT_PATHS, is_console_path
from services.contract.api.sdk import GET_PATHS, POST_PATHS, sdk_path

SDK_PATHS = sorted({path for paths in (*POST_PATHS.values(), *GET_PATHS.values()) for path in paths})


@pytest.mark.parametrize("path", SDK_PATHS)
def test_no_address_of_an_sdk_lies_below_one_of_ours(path: str) -> None:
    taken = [own for own in ROOT_PATHS if path == own or (path.startswith(f"{own.rstrip('/')}/") and own != "/")]
    assert taken == []


@pytest.mark.parametrize("path", ROOT_PATHS)
def test_none_of_ours_is_an_address_of_an_sdk(path: str) -> None:
    assert sdk_path(path) is None
    assert sdk_path(f"{path}/") is None


def test_the_table_has_the_calls_and_the_console() -> None:
    assert {BASE_PATH, CONSOLE_PATH, "/"} <= set(ROOT_PATHS)
    assert [path for path in ROOT_PATHS if is_console_path(path)] == ["/", CONSOLE_PATH]
    assert not is_console_path("/consoles")
