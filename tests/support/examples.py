"""How many examples a property is tried with: all in CI, fewer at the desk, few in `make unit`.

The profile is what HYPOTHESIS_PROFILE says; else `ci` where CI is set, and `desk` where it is not.
"""

import os
from typing import Any

from hypothesis import settings

_PERCENT = {"quick": 10, "desk": 40, "ci": 100}
_ALL = 100


def load_profile() -> None:
    """To be called before the first test is defined."""
    for name, percent in _PERCENT.items():
        # How long an example takes is the machine's business: a busy one must not fail a test.
        settings.register_profile(name, max_examples=_ALL * percent // 100, deadline=None)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "desk"))


def examples(in_ci: int, **options: Any) -> settings:
    """For a property whose examples take longer than others', or need to be more than a hundred."""
    return settings(max_examples=max(1, in_ci * settings().max_examples // _ALL), **options)
