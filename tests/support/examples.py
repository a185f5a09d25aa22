"""How many examples a property is tried with: a quarter by default, few in `make slow`, all with HYPOTHESIS_PROFILE=full."""

import os
from typing import Any

from hypothesis import settings

_PERCENT = {"quick": 10, "desk": 25, "full": 100}
_ALL = 100


def load_profile() -> None:
    """To be called before the first test is defined."""
    for name, percent in _PERCENT.items():
        # How long an example takes is the machine's business: a busy one must not fail a test.
        settings.register_profile(name, max_examples=_ALL * percent // 100, deadline=None)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "desk")


def examples(in_full: int, **options: Any) -> settings:
    """For a property whose examples take longer than others', or need to be more than a hundred."""
    return settings(max_examples=max(1, in_full * settings().max_examples // _ALL), **options)
