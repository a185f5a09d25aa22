"""The edge of the unit tests, with all SDK surfaces."""

from tests.unit.edge.protocols.conftest import sdk

__all__ = ["sdk"]
