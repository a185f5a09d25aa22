"""OAuth tokens for Kafka (SASL OAUTHBEARER): by client credentials, or by a function of the operator's."""

import asyncio
import base64
import importlib
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError
from msgspec import Struct

from services.runtime.operator_errors import OperatorError
from services.runtime.tls import TlsFiles, tls_advice

# The token, and the Unix time in seconds at which it expires.
Fetch = Callable[[], tuple[str, float]]
_TIMEOUT_S = 10
# A token is replaced when so much of its life is left, at most so long before its end.
_LEFT_RATIO = 0.2
_LEFT_S = 60.0
# Of a server that does not say how long its token lives.
_USUAL_LIFE_S = 300


class TokenError(KafkaError):  # type: ignore[misc]
    """There is no token; the message says what to change. Never has a secret in it."""


class TokenHookError(OperatorError):
    """HEADRACE_KAFKA_OAUTH_HOOK names no function."""


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """One token for all connections of a process, in whatever thread and loop they are."""

    def __init__(self, fetch: Fetch, extensions: Mapping[str, str]) -> None:
        self._fetch = fetch
        self._extensions = dict(extensions)
        self._lock = threading.Lock()
        self._token = ""
        self._replace_at = 0.0

    async def token(self) -> str:
        return await asyncio.to_thread(self._current)

    def extensions(self) -> dict[str, str]:
        return self._extensions

    def _current(self) -> str:
        with self._lock:
            if time.time() >= self._replace_at:
                now = time.time()
                self._token, expires_at = self._fetch()
                left = max(0.0, expires_at - now)
                self._replace_at = expires_at - min(_LEFT_S, _LEFT_RATIO * left)
            return self._token


class ClientCredentials(Struct, frozen=True):
    """The grant of RFC 6749, 4.4: asks `url` for a token when it is called. Raises TokenError."""

    url: str
    client_id: str
    secret: str
    scope: str
    ca_file: str = ""

    def __repr__(self) -> str:
        return f"ClientCredentials({self.url!r}, {self.client_id!r})"

    def __call__(self) -> tuple[str, float]:
        pair = ":".join(urllib.parse.quote_plus(part) for part in (self.client_id, self.secret))
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        request = urllib.request.Request(  # noqa: S310 the setting allows http and https alone
            self.url,
            urllib.parse.urlencode(form).encode(),
            {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}", "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=self._context()) as answer:  # noqa: S310
                return _token_of(json.load(answer))
        except urllib.error.HTTPError as error:
            raise TokenError(self._refused(error)) from None
        except (OSError, ValueError) as error:
            reason = tls_advice(error, "HEADRACE_KAFKA_") or getattr(error, "reason", None) or error
            raise TokenError(f"no token from {self.url}: {reason}. Is HEADRACE_KAFKA_OAUTH_TOKEN_URL right?") from None

    def _context(self) -> Any:
        """What the system trusts, and the CA of the brokers: an inside server of tokens has it too."""
        context = TlsFiles("HEADRACE_KAFKA_").context()
        if self.ca_file:
            context.load_verify_locations(self.ca_file)
        return context

    def _refused(self, error: urllib.error.HTTPError) -> str:
        try:
            code = str(json.load(error)["error"])[:100]
        except (ValueError, KeyError, TypeError, OSError):
            code = error.reason
        return (
            f"no token from {self.url}: {error.code} {code}. Are HEADRACE_KAFKA_OAUTH_CLIENT_ID, "
            "HEADRACE_KAFKA_OAUTH_CLIENT_SECRET and HEADRACE_KAFKA_OAUTH_SCOPE right?"
        )


def _token_of(answer: Any) -> tuple[str, float]:
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token:
        raise ValueError("the answer has no access_token")
    return token, time.time() + float(answer.get("expires_in") or _USUAL_LIFE_S)


class Hook(Struct, frozen=True):
    """Calls a function of the operator's, which gives a token and the Unix time at which it expires. Raises TokenError."""

    name: str
    function: Callable[[], Any]

    def __call__(self) -> tuple[str, float]:
        try:
            token, expires_at = self.function()
            # Clouds' libraries give milliseconds as often as seconds.
            return str(token), float(expires_at) / (1000 if float(expires_at) > 1e11 else 1)
        except Exception as error:
            raise TokenError(
                f"HEADRACE_KAFKA_OAUTH_HOOK: {self.name} gave no (token, expiry): {type(error).__name__}. The function "
                "is called without arguments, and returns a token and the Unix time at which it expires."
            ) from error


def load_hook(name: str) -> Hook:
    """`module:function`. Raises TokenHookError."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise TokenHookError(
            f"HEADRACE_KAFKA_OAUTH_HOOK: {name} cannot be loaded ({error}): write module:function, of a module that "
            "Python finds (PYTHONPATH)"
        ) from None
    if not callable(found):
        raise TokenHookError(f"HEADRACE_KAFKA_OAUTH_HOOK: {name} is no function")
    return Hook(name, found)
