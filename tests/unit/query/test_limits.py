"""Limits that several queries share."""

import pytest

from services.query.execution.limits import Limits
from services.runtime.settings import QuerySettings

MIB = 1024**2


@pytest.mark.parametrize(("concurrency", "mib"), [(1, 32), (4, 32), (8, 16), (12, 10), (100, 10)])
def test_results_of_all_queries_at_once_are_bounded_and_a_page_always_fits(concurrency: int, mib: int) -> None:
    limits = Limits.of(QuerySettings(query_concurrency=concurrency))
    assert limits.result_bytes // MIB == mib
