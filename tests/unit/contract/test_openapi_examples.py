"""The bodies that the reference shows are ones that the calls take."""

import msgspec
import pytest

from services.contract.api.endpoints import Call
from services.contract.api.openapi import CALLS
from services.contract.api.queries import QUERY_KINDS

WITH_EXAMPLE = [call for call in CALLS if call.example is not None]


@pytest.mark.parametrize("call", WITH_EXAMPLE, ids=lambda call: call.name)
def test_an_example_is_a_body(call: Call) -> None:
    msgspec.json.decode(msgspec.json.encode(call.example), type=call.request)
    assert set(call.example) <= set(call.request.__struct_fields__)


def test_each_kind_of_query_has_one() -> None:
    assert {f"query_{kind.name}" for kind in QUERY_KINDS} <= {call.name for call in WITH_EXAMPLE}
