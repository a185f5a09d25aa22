"""Preflights of web pages: whatever headers tools add are allowed, and a refusal has the one shape of all errors."""

import pytest

from services.contract.api.endpoints import BASE_PATH
from tests.unit.edge.conftest import Edge

PAGE = "https://shop.example"


def asks(method: str = "POST", headers: str = "authorization,content-type") -> dict[str, str]:
    return {"origin": PAGE, "access-control-request-method": method, "access-control-request-headers": headers}


@pytest.mark.parametrize("headers", ["authorization", "sentry-trace,baggage", "traceparent, x-datadog-trace-id", ""])
async def test_whatever_headers_are_asked_for_are_allowed(edge: Edge, headers: str) -> None:
    response = await edge.client.options(f"{BASE_PATH}/track", headers=asks(headers=headers))
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    allowed = {name.strip().lower() for name in response.headers.get("access-control-allow-headers", "").split(",")}
    assert {name.strip() for name in headers.split(",") if name} <= allowed


@pytest.mark.parametrize("method", ["DELETE", "PUT", "BREW"])
async def test_a_refusal_has_the_one_shape(edge: Edge, method: str) -> None:
    response = await edge.client.options(f"{BASE_PATH}/track", headers=asks(method))
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
    assert response.headers["access-control-allow-origin"] == "*"


async def test_an_answer_to_a_page_may_be_read_by_it(edge: Edge) -> None:
    event = {"event": "x", "distinct_id": "u"}
    response = await edge.client.post(f"{BASE_PATH}/track", json=event, headers={"origin": PAGE})
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "*")
