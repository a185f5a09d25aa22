"""Parameters that are short stay as they are."""

from typing import Any

from services.runtime.long_parameters import in_short_fields


def test_what_is_short_stays_as_it_is() -> None:
    given: dict[str, Any] = {"project": "p", "ids": list(range(1000)), "names": ["a" * 200] * 100, "since": 1}
    assert in_short_fields("SELECT {ids:Array(UInt64)}", given) == ("SELECT {ids:Array(UInt64)}", given)
