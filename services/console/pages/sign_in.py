"""/console/sign-in and /console/sign-out.

The link that `make run` prints has the key behind `#`: browsers send that to nobody. A module takes it out of the address
and posts it.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.console.frame.api import AnswerError, KeyedApi
from services.console.frame.csrf import is_from_here
from services.console.frame.frame import SIGN_IN, Frame, RefusedError, Visit, own_address, read_form, sign_in_address
from services.console.frame.headers import page_headers
from services.console.frame.session import new_session
from services.contract.api.catalog import CatalogResult
from services.contract.api.ingest import Accepted

_MAX_KEY_CHARS = 512


class SignInPages:
    """Signing in asks the API what the key may do; the console has no list of keys."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [
            Route(SIGN_IN, self.form, methods=["GET"]),
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            self._frame.page("/sign-out", self.sign_out, ("POST",)),
        ]

    async def form(self, request: Request) -> Response:
        back = own_address(request.query_params.get("next", ""))
        problem = "This key is not valid any more. Sign in with another one." if "ended" in request.query_params else ""
        return self._page(request, back, problem)

    async def sign_in(self, request: Request) -> Response:
        if not is_from_here(request):
            raise RefusedError("Only the sign-in page of this console can sign in.")
        form = dict(await read_form(request))
        key, back = form.get("key", "").strip(), own_address(form.get("next", ""))
        if problem := self._wrong_connection(request) or _wrong_key(key):
            return self._page(request, back, problem, 400)
        api = self._frame.api.with_key(key)
        try:
            await api.post("/query/catalog", {"limit": 1}, CatalogResult)
            can_send = await _may_send(api)
        except AnswerError as error:
            return self._page(request, back, _said(error), error.status)
        response = RedirectResponse(back, 303, page_headers())
        self._frame.sessions.give(response, new_session(key, can_send))
        return response

    async def sign_out(self, visit: Visit) -> Response:
        response = RedirectResponse(sign_in_address(""), 303, page_headers())
        self._frame.sessions.take(response)
        return response

    def _page(self, request: Request, back: str, problem: str, status: int = 200) -> Response:
        return self._frame.render(request, None, "sign_in.html", status=status, back=back, problem=problem)

    def _wrong_connection(self, request: Request) -> str:
        """A browser would drop the cookie in silence, and sign in for ever."""
        origin = request.headers.get("origin", "")
        if self._frame.sessions.is_secure and origin.startswith("http://"):
            return (
                "This console signs in over https alone. Open it by https, or start it with "
                "HEADRACE_CONSOLE_COOKIE_SECURE=false."
            )
        return ""


async def _may_send(api: KeyedApi) -> bool:
    """An empty batch says it, and changes nothing. Where no edge answers, its buttons are left out."""
    try:
        return (await api.post("/batch", {"events": []}, Accepted)).ok
    except AnswerError:
        return False


def _wrong_key(key: str) -> str:
    if not key:
        return "Paste a project key: it begins with hr_ as a rule."
    if len(key) > _MAX_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
        return "This is no project key: a key has printable ASCII characters without blanks."
    return ""


def _said(error: AnswerError) -> str:
    if error.status == 401:
        return "No project has this key, or it was revoked. `headrace keys list` shows which keys there are."
    if error.status == 403:
        return "This key may not read. Take one with the scope `query`; with `ingest` too it can send and delete."
    return error.message
