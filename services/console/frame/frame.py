"""What every page goes through: the session, the token of what changes something, the API, the template, the errors.

A page is a function of a Visit that returns a Response. `Frame.page` makes a route of it.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from services.console.frame.api import AnswerError, Api, KeyedApi
from services.console.frame.assets import Assets
from services.console.frame.csrf import HEADER, has_token, is_from_here
from services.console.frame.headers import page_headers
from services.console.frame.navigation import NAVIGATION
from services.console.frame.session import Session, Sessions
from services.console.frame.show import FILTERS
from services.contract.api.root_paths import CONSOLE_PATH
from services.runtime.http import receive_body, request_id_of
from services.runtime.settings import ConsoleSettings
from services.runtime.waited_for import while_waited_for

TEMPLATES = Path(__file__).parents[1] / "templates"
SIGN_IN = f"{CONSOLE_PATH}/sign-in"
HOME = f"{CONSOLE_PATH}/"
_MAX_FORM_BYTES = 256 * 1024


class Visit(Struct, frozen=True):
    """A request of somebody who is signed in. `query` and `form`: the last value of each name; `fields`: all, in their order."""

    request: Request
    session: Session
    api: KeyedApi
    base_url: str
    query: dict[str, str]
    form: dict[str, str]
    fields: list[tuple[str, str]]

    @property
    def address(self) -> str:
        """Of this page, to come back to."""
        return path_and_query(self.request)


Handler = Callable[[Visit], Awaitable[Response]]


@cache
def packed_assets() -> Assets:
    """Packed once a process."""
    return Assets()


@cache
def compiled_templates() -> Environment:
    """Each is compiled once a process. All text is escaped, and a name that a page forgot is an error."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(FILTERS)
    templates.globals.update(asset=packed_assets().address, base=CONSOLE_PATH, navigation=NAVIGATION, query_of=query_of)
    return templates


class Frame:
    """One for the process."""

    def __init__(self, settings: ConsoleSettings, api: Api) -> None:
        self.sessions = Sessions(settings)
        self.api = api
        self.assets = packed_assets()
        self._public_url = settings.console_public_url
        self._jinja = compiled_templates()

    def page(
        self, path: str, handler: Handler, methods: tuple[str, ...] = ("GET",), *, only_reads: bool = False
    ) -> Route:
        """`path` is below /console. POST handlers are called with a form whose token was right. What only reads, as all GET
        do, is given up where its reader goes to another page."""

        async def answer(request: Request) -> Response:
            session = self.sessions.of(request)
            if session is None:
                return self._not_signed_in(request)
            fields = [] if request.method in ("GET", "HEAD") else await read_form(request)
            form = dict(fields)
            if request.method not in ("GET", "HEAD"):
                self._refuse_strangers(request, session, form)
            visit = Visit(
                request,
                session,
                self.api.with_key(session.key),
                self.base_url(request),
                dict(request.query_params),
                form,
                fields or list(request.query_params.multi_items()),
            )
            try:
                return await handler(visit)
            except AnswerError as problem:
                return self.problem(visit, problem)

        is_read = only_reads or methods == ("GET",)
        return Route(CONSOLE_PATH + path, while_waited_for(answer) if is_read else answer, methods=list(methods))

    def _refuse_strangers(self, request: Request, session: Session, form: dict[str, str]) -> None:
        if not is_from_here(request) or not has_token(request, session, form):
            raise RefusedError("This form is not of a page that is open here, or an old one. Load the page again.")

    def _not_signed_in(self, request: Request) -> Response:
        """To the sign-in, and back. A link on another site comes without the cookie: asked for again by this site, with it."""
        if is_for_script(request):
            return Response("signed out", 401, page_headers(), "text/plain")
        back = back_address(request)
        if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
            return self.render(request, None, "bounce.html", back=path_and_query(request))
        return RedirectResponse(sign_in_address(back), 303, page_headers())

    def base_url(self, request: Request) -> str:
        """Where producers send to, as lines to copy have it."""
        if self._public_url:
            return self._public_url
        scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else request.url.scheme
        return f"{scheme}://{request.headers.get('host', 'localhost')}"

    def show(self, visit: Visit, template: str, *, status: int = 200, **values: Any) -> Response:
        """The page of somebody who is signed in."""
        return self.render(visit.request, visit.session, template, status=status, visit=visit, **values)

    def render(
        self,
        request: Request,
        session: Session | None,
        template: str,
        *,
        status: int = 200,
        **values: Any,
    ) -> Response:
        text = self._jinja.get_template(template).render(session=session, path=request.scope["path"], **values)
        return HTMLResponse(text, status, page_headers())

    def problem(self, visit: Visit, problem: AnswerError) -> Response:
        """A page of its own for an error; a key that does not count any more leads to the sign-in."""
        if problem.status == 401:
            if is_for_script(visit.request):
                return Response("signed out", 401, page_headers(), "text/plain")
            response = RedirectResponse(sign_in_address(back_address(visit.request), ended=1), 303, page_headers())
            self.sessions.take(response)
            return response
        return self.show(
            visit, "problem.html", status=problem.status, problem=problem, request_id=request_id_of(visit.request)
        )


class RefusedError(Exception):
    """A request that changes something, of another page: the message is for who sees it."""


def is_for_script(request: Request) -> bool:
    """Whether a module asked, which can show no other page in the place of its answer."""
    return HEADER in request.headers or request.headers.get("sec-fetch-mode", "navigate") != "navigate"


async def read_form(request: Request) -> list[tuple[str, str]]:
    """Fields in their order. Raises ApiError 413 for more than any page sends."""
    body = await receive_body(request, _MAX_FORM_BYTES, "Send less.")
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def path_and_query(request: Request) -> str:
    path = quote(request.scope["path"], safe="/")
    return path + (f"?{request.url.query}" if request.url.query else "")


def back_address(request: Request) -> str:
    """The page to come back to: of a form that was sent, the page that it stood on."""
    if request.method in ("GET", "HEAD"):
        return path_and_query(request)
    came_from = urlsplit(request.headers.get("referer", ""))
    return own_address(came_from.path + (f"?{came_from.query}" if came_from.query else ""))


def own_address(text: str) -> str:
    """The address where it is one of the console's pages, else the first page: nobody is led to another site."""
    is_own = text.startswith(f"{CONSOLE_PATH}/") and text.isprintable() and text.isascii() and "\\" not in text
    return text if is_own and ".." not in text else HOME


def sign_in_address(back: str, **more: Any) -> str:
    return f"{SIGN_IN}?{urlencode({'next': back, **more})}"


def query_of(values: Mapping[str, Any], **changed: Any) -> str:
    """A query string of these values, without empty ones, with some changed."""
    merged = {**values, **changed}
    return urlencode({name: value for name, value in merged.items() if value not in (None, "")})
