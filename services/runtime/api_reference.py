"""The calls for programs (/openapi.json) and for people (/docs): all of edge and query service, whichever is asked.

/docs is Swagger UI. Its files come from an installed package; the page loads nothing from other hosts, and the
browser is told to refuse that.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from services import __version__
from services.contract.api.openapi import openapi_document

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Headrace: API reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<noscript>This page needs JavaScript. The same in JSON: <a href="/openapi.json">/openapi.json</a></noscript>
<script src="/docs/swagger-ui.js"></script>
<script src="/docs/page.js"></script>
</body>
</html>
"""
# Without a validator: it would send the address of the document to another host.
_SCRIPT = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  validatorUrl: null,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
});
"""
# Address below /docs -> the package's file and its type.
_FILES = {
    "swagger-ui.js": ("swagger_bundle.js", "text/javascript"),
    "swagger-ui.css": ("swagger_style.css", "text/css"),
}
_PACKAGE = "offapi"


def api_reference_routes() -> list[Route]:
    """/openapi.json, and /docs with its files."""
    return [
        Route("/openapi.json", _openapi),
        Route("/docs", _page),
        Route("/docs/", _page),
        Route("/docs/page.js", _script),
        *[_file_route(f"/docs/{name}", _folder() / file, kind) for name, (file, kind) in _FILES.items()],
    ]


async def _openapi(request: Request) -> Response:
    return Response(openapi_document(__version__), media_type="application/json")


async def _page(request: Request) -> Response:
    return HTMLResponse(_PAGE, headers=_HEADERS)


async def _script(request: Request) -> Response:
    return Response(_SCRIPT, headers=_HEADERS, media_type="text/javascript")


def _file_route(address: str, file: Path, kind: str) -> Route:
    async def send(request: Request) -> Response:
        return FileResponse(file, headers={**_HEADERS, "cache-control": "public, max-age=3600"}, media_type=kind)

    return Route(address, send)


@cache
def _folder() -> Path:
    """Where the package's files are. It is not imported: that would build pages of megabytes that nobody asks for."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package {_PACKAGE} is not installed: install requirements/production.txt again")
    return Path(spec.origin).parent
