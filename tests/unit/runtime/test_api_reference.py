"""/docs and its files: there, with their types, from this process alone, and in the browser's strictest hands."""

import re

import httpx
import pytest
from starlette.applications import Starlette

from services import __version__
from services.runtime.api_reference import api_reference_routes


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = Starlette(routes=api_reference_routes())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_the_openapi_document(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", __version__)
    subjects = {tag["name"] for tag in document["tags"]}
    assert {t for path in document["paths"].values() for call in path.values() for t in call["tags"]} == subjects


@pytest.mark.parametrize("address", ["/docs", "/docs/"])
async def test_the_page_and_all_that_it_names_are_served(client: httpx.AsyncClient, address: str) -> None:
    page = await client.get(address)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert {"/docs/swagger-ui.js", "/docs/swagger-ui.css", "/docs/page.js", "/openapi.json"} == {*named} - {"data:,"}
    for part in named:
        if part != "data:,":
            assert (await client.get(part)).status_code == 200, part


@pytest.mark.parametrize(
    ("address", "kind", "text"),
    [
        ("/docs/swagger-ui.js", "text/javascript; charset=utf-8", "SwaggerUIBundle"),
        ("/docs/swagger-ui.css", "text/css; charset=utf-8", ".swagger-ui"),
        ("/docs/page.js", "text/javascript; charset=utf-8", "validatorUrl: null"),
    ],
)
async def test_files(client: httpx.AsyncClient, address: str, kind: str, text: str) -> None:
    file = await client.get(address)
    assert file.headers["content-type"] == kind
    assert text in file.text
    assert file.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("address", ["/docs/", "/docs/swagger-ui.js", "/docs/page.js"])
async def test_the_browser_is_told_to_load_nothing_from_elsewhere(client: httpx.AsyncClient, address: str) -> None:
    policy = (await client.get(address)).headers["content-security-policy"]
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["connect-src"] == "'self'"
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy


@pytest.mark.parametrize("address", ["/docs/redoc.js", "/docs/__init__.py", "/docs/../openapi.py", "/docs/page.js/x"])
async def test_nothing_else_of_the_package_is_served(client: httpx.AsyncClient, address: str) -> None:
    assert (await client.get(address)).status_code == 404
