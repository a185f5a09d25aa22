"""See `tests/engine/test_cohorts_property.py`."""

from tests.support.on_shards import once_more

globals().update(once_more("test_cohorts_property"))
