"""The gateway of `make run` passes each call to the service that answers it."""

import pytest

from services.contract.api.endpoints import BASE_PATH, INGEST_CALLS, Call
from services.contract.api.openapi import CALLS
from services.devstack.gateway import Gateway

GATEWAY = Gateway("http://edge", "http://query", "http://console")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_call_goes_to_its_service(call: Call) -> None:
    wanted = GATEWAY.edge if call in INGEST_CALLS else GATEWAY.query
    assert GATEWAY.route(BASE_PATH + call.path) is wanted


@pytest.mark.parametrize("path", ["/v1/analytics/group", "/v1/analytics/eventsx", "/v1/analytics/nowhere"])
def test_what_only_looks_like_a_query_goes_to_the_edge(path: str) -> None:
    assert GATEWAY.route(path) is GATEWAY.edge


@pytest.mark.parametrize("path", ["/", "/console", "/console/", "/console/live", "/console/assets/a/b.js"])
def test_pages_go_to_the_console(path: str) -> None:
    assert GATEWAY.route(path) is GATEWAY.console


@pytest.mark.parametrize("path", ["/metrics", "/v1/analytics", "/persons", "/consoles", "//console"])
def test_what_no_service_has(path: str) -> None:
    assert GATEWAY.route(path) is None
