"""Which times tell one message from the next."""

import pytest

from services.edge.protocols.text_keys import is_exact


@pytest.mark.parametrize(
    ("time", "exact"),
    [
        (b'"2026-11-20T11:00:00.001Z"', True),
        (b'"2026-11-20T11:00:00.25Z"', True),
        (b'"2026-11-20T11:00:00.000001+00:00"', True),
        (b'"2026-11-20T11:00:00.000Z"', False),
        (b'"2026-11-20T11:00:00.000000+00:00"', False),
        (b'"2026-11-20T11:00:00Z"', False),
        (b"1795172400123", True),
        (b'"1795172400123"', True),
        (b"1795172400000", False),
        (b'"1795172400000"', False),
        (b"1795172400", False),
        (b"1795172400.5", True),
        (b"1795172400.0", False),
        (b"", False),
        (b"null", False),
    ],
)
def test_a_whole_second_may_be_that_of_several_messages(time: bytes, exact: bool) -> None:
    assert is_exact(time) is exact
