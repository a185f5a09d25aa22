"""What becomes of events, and what of them is lost, is counted from 0: the first time is an increase then."""

import pytest
from prometheus_client import REGISTRY

from services.contract.api.sdk import FAMILIES, LOST
from tests.unit.edge.protocols.conftest import SdkEdge


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"headrace_edge_{name}_total", labels)


@pytest.mark.parametrize("call", ["track", "batch", *FAMILIES])
def test_before_any_event(sdk: SdkEdge, call: str) -> None:
    for result in ("accepted", "rejected", "put_aside"):
        assert value("events", call=call, result=result) is not None
    assert value("rejected_events", code="quota_exceeded") is not None
    assert all(value("sdk_lost", family=call, kind=kind) is not None for kind in LOST.get(call, ()))
