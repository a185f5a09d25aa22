"""The edge of the unit tests."""

from tests.unit.edge.conftest import edge

__all__ = ["edge"]
