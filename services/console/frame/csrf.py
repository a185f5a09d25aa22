"""Whether a request that changes something was sent by a page of the console.

Two marks: the browser's own word for where a request comes from, and the token of the session, which other pages cannot
read. The sign-in has no session yet, so that the first alone protects it.
"""

import hmac
from urllib.parse import urlsplit

from starlette.requests import Request

from services.console.frame.session import Session

FIELD = "csrf"
HEADER = "x-csrf-token"


def is_from_here(request: Request) -> bool:
    """By Sec-Fetch-Site, else by Origin; a client that sends neither is no browser, and holds no cookie of somebody else's."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


def has_token(request: Request, session: Session, form: dict[str, str]) -> bool:
    given = request.headers.get(HEADER) or form.get(FIELD, "")
    return hmac.compare_digest(given.encode(), session.csrf.encode())
