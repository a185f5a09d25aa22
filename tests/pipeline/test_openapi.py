"""The OpenAPI document describes what the services do: generated requests get documented answers, never a 5xx."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from services.contract.api.endpoints import BASE_PATH, Call
from services.contract.api.openapi import CALLS
from tests.support.examples import examples
from tests.support.pipeline import KEY, Pipeline

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
TWELVE_CALLS = {
    ("POST", "/track"),
    ("POST", "/batch"),
    ("POST", "/identify"),
    ("POST", "/alias"),
    ("POST", "/group"),
    ("POST", "/query/events"),
    ("POST", "/query/retention"),
    ("POST", "/query/path"),
    ("POST", "/dashboard/create"),
    ("GET", "/dashboard/get/{dashboard_id}"),
    ("GET", "/dashboard/list"),
    ("DELETE", "/dashboard/delete/{dashboard_id}"),
}


@pytest.fixture
def document(pipeline: Pipeline) -> dict[str, Any]:
    response = pipeline.client.get(f"{pipeline.base_url}/openapi.json")
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def test_document_has_all_calls(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path.removeprefix(BASE_PATH))
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described >= TWELVE_CALLS


# An answer that goes on has a test of its own: tests/engine/test_live.py.
ENDING = [call for call in CALLS if call.media != "text/event-stream"]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "broken"])
@pytest.mark.parametrize("call", ENDING, ids=lambda call: call.name)
def test_generated_requests(pipeline: Pipeline, document: dict[str, Any], call: Call, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_dict(document)[BASE_PATH + call.path][call.method]

    if mode is GenerationMode.NEGATIVE and call.request is None and not call.parameters:
        return

    @given(case=operation.as_strategy(generation_mode=mode))
    @examples(30, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=pipeline.base_url, headers={"Authorization": f"Bearer {KEY}"})
        case.validate_response(response, checks=CHECKS)

    ask()
