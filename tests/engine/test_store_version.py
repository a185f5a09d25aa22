"""An engine that is too old is refused, before anything is read from it or written."""

import pytest

from services.runtime.clickhouse import ClickHouse, UnsupportedVersionError, is_older
from services.runtime.settings import ClickHouseSettings
from services.runtime.store_version import LOWEST_VERSION, refuse_old_version


@pytest.mark.parametrize(
    ("version", "older"),
    [
        ("26.8.15.10", False),
        ("26.8", False),
        ("26.10.1.1", False),
        ("27.1.1.1", False),
        ("26.7.99.99", True),
        ("25.12.1.1", True),
        ("26.9.2.1-lts", False),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, older: bool) -> None:
    assert is_older(version, (26, 8)) is older


async def test_the_engine_of_the_tests_is_taken(clickhouse: ClickHouseSettings) -> None:
    await refuse_old_version(clickhouse)


async def test_an_older_engine_is_refused_at_once_and_in_use(clickhouse: ClickHouseSettings) -> None:
    store = ClickHouse(clickhouse, lowest_version=(99, 1))
    with pytest.raises(UnsupportedVersionError, match=r"Headrace needs 99\.1 or newer: .* Upgrade ClickHouse first\."):
        await store.rows("SELECT 1")
    assert LOWEST_VERSION < (99, 1)
    await store.close()


async def test_a_store_that_does_not_answer_is_not_refused() -> None:
    await refuse_old_version(ClickHouseSettings(clickhouse_url="http://127.0.0.1:9"))
