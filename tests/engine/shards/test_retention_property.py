"""See `tests/engine/test_retention_property.py`."""

from tests.support.on_shards import once_more

globals().update(once_more("test_retention_property"))
