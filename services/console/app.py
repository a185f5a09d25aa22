"""The console's composition root: puts the pages together."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.console.frame.api import Api
from services.console.frame.frame import Frame, RefusedError
from services.console.frame.headers import page_headers
from services.console.pages.behind import BehindPages
from services.console.pages.builders import BuilderPages
from services.console.pages.catalog import CatalogPages
from services.console.pages.dashboards import DashboardPages
from services.console.pages.groups import GroupPages
from services.console.pages.home import HomePages
from services.console.pages.live import LivePages
from services.console.pages.people import PeoplePages
from services.console.pages.setup import SetupPages
from services.console.pages.sign_in import SignInPages
from services.console.pages.suggestions import Suggestions
from services.contract.api.errors import ApiError
from services.contract.api.root_paths import CONSOLE_PATH
from services.runtime.connections import Connections
from services.runtime.http import bug_response, exact_addresses, operation_routes, request_id_of, serve
from services.runtime.http_metrics import HTTP_ERRORS
from services.runtime.logs import get_logger
from services.runtime.settings import ConsoleSettings
from services.runtime.start import start_service

log = get_logger(__name__)
_SERVICE = "console"
_PAGES = (
    SignInPages,
    HomePages,
    LivePages,
    BuilderPages,
    BehindPages,
    Suggestions,
    DashboardPages,
    PeoplePages,
    GroupPages,
    CatalogPages,
    SetupPages,
)


def create_app(settings: ConsoleSettings, transport: httpx.AsyncBaseTransport | None = None) -> Starlette:
    """The console as an ASGI application; it is ready while the API answers. `transport`: how to get to the API."""
    api = Api(settings.console_api_url, settings.console_timeout_s, transport)
    frame = Frame(settings, api)

    async def ready() -> dict[str, bool]:
        return {"api": await api.answers()}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await api.close()

    async def home(request: Request) -> Response:
        return RedirectResponse(f"{CONSOLE_PATH}/", 303, page_headers())

    app = Starlette(
        routes=[
            *[Route(path, home) for path in ("/", CONSOLE_PATH)],
            *[route for kind in _PAGES for route in kind(frame).routes()],
            frame.assets.route(),
            *operation_routes(ready),
        ],
        exception_handlers=_handlers(frame),
        lifespan=lifespan,
    )
    exact_addresses(app)
    return app


def _handlers(frame: Frame) -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """Whatever goes wrong is a page that says what to do."""

    def page(request: Request, status: int, title: str, message: str) -> Response:
        return frame.render(
            request,
            frame.sessions.of(request),
            "error.html",
            status=status,
            title=title,
            message=message,
            request_id=request_id_of(request),
        )

    async def on_http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return page(request, status, "There is no such page", "The address leads nowhere: was it copied whole?")

    async def on_api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101 (narrows the type that Starlette passes)
        return page(request, error.code.status, "This cannot be taken", error.message)

    async def on_refused(request: Request, error: Exception) -> Response:
        HTTP_ERRORS.labels(_SERVICE, "forbidden").inc()
        return page(request, 403, "Nothing was changed", str(error))

    async def on_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=400)  # nobody is there to read it

    async def on_bug(request: Request, error: Exception) -> Response:
        bug_response(request, error, _SERVICE)  # logs and counts
        return page(request, 500, "This is a fault of the console", "Please report it with the id below.")

    return {
        HTTPException: on_http,
        ApiError: on_api_error,
        RefusedError: on_refused,
        ClientDisconnect: on_disconnect,
        Exception: on_bug,
    }


def main() -> None:
    settings = start_service(ConsoleSettings, _SERVICE)
    log.info("console_starting", host=settings.console_host, port=settings.console_port)
    serve(
        create_app(settings),
        settings.console_host,
        settings.console_port,
        settings.console_drain_timeout_s,
        _SERVICE,
        Connections(settings.connection_limits()),
    )
