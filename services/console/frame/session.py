"""Who is signed in: the project key, sealed in a cookie that ends. The server keeps nothing.

The seal is Fernet: whoever has no HEADRACE_CONSOLE_SECRET can neither read a cookie nor make one. The time of the seal
is part of it, so that a cookie which a browser keeps too long is refused.
"""

import base64
import hashlib
import secrets

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from services.contract.api.root_paths import CONSOLE_PATH
from services.runtime.environment import SettingsError
from services.runtime.settings import ConsoleSettings

COOKIE = "headrace_console"
_SEALED_FOR = b"headrace console session 1:"
_SECONDS_PER_HOUR = 3600


class Session(Struct, frozen=True):
    """`csrf` is the token of the forms. `can_send`: the key had the scope `ingest` when it signed in."""

    key: str
    csrf: str
    can_send: bool

    def __repr__(self) -> str:
        """Without the key, wherever it may be written."""
        return f"Session({self.shown})"

    @property
    def shown(self) -> str:
        """Enough of the key to tell it from others."""
        return f"…{self.key[-4:]}"


def new_session(key: str, can_send: bool) -> Session:
    return Session(key, secrets.token_urlsafe(24), can_send)


class Sessions:
    """Opens and seals. Raises SettingsError where there is no secret."""

    def __init__(self, settings: ConsoleSettings) -> None:
        if not settings.console_secret:
            raise SettingsError(
                "HEADRACE_CONSOLE_SECRET: must be set: cookies are sealed with it. Take a random one, say `openssl rand -hex 32`"
            )
        digest = hashlib.sha256(_SEALED_FOR + settings.console_secret.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))
        self._seconds = int(settings.console_session_hours * _SECONDS_PER_HOUR)
        self.is_secure = settings.console_cookie_secure

    def of(self, request: Request) -> Session | None:
        """None without a cookie, and for one that has ended or that is not ours."""
        sealed = request.cookies.get(COOKIE)
        if not sealed:
            return None
        try:
            text = self._fernet.decrypt(sealed.encode(), ttl=self._seconds)
            return msgspec.json.decode(text, type=Session)
        except (InvalidToken, msgspec.MsgspecError, UnicodeEncodeError):
            return None

    def sealed(self, session: Session) -> str:
        return self._fernet.encrypt(msgspec.json.encode(session)).decode()

    def give(self, response: Response, session: Session) -> None:
        response.set_cookie(
            COOKIE,
            self.sealed(session),
            max_age=self._seconds,
            path=CONSOLE_PATH,
            secure=self.is_secure,
            httponly=True,
            samesite="strict",
        )

    def take(self, response: Response) -> None:
        response.delete_cookie(COOKIE, CONSOLE_PATH, secure=self.is_secure, httponly=True, samesite="strict")
