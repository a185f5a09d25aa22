"""TLS as a client speaks it: the files that settings name, and what a failed handshake wants changed.

A certificate is renewed by writing its file again. Each new connection looks at the files, so none needs a restart.
"""

import contextlib
import ssl
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct

from services.runtime.operator_errors import OperatorError

# Not runtime/logs.py: settings are read before it, and check these files.
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class TlsFilesError(OperatorError):
    """A file of a certificate or key cannot be used. The message names its setting."""


class TlsFiles(Struct, frozen=True):
    """Paths; empty: none. `settings`: what the names of the settings begin with, for messages."""

    settings: str
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """Trusts the CA alone, where one is named, and else what the system trusts. Raises TlsFilesError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.ca else ssl.create_default_context()
        if self.ca:
            self._load("CA_FILE", self.ca, lambda: context.load_verify_locations(self.ca))
        if self.certificate:
            key = self.key or None
            self._load(
                "CERTIFICATE_FILE",
                self.certificate,
                lambda: context.load_cert_chain(self.certificate, key, password=_no_password),
            )
        return context

    def _load(self, setting: str, path: str, load: Any) -> None:
        name = f"{self.settings}{setting}"
        try:
            load()
        except ssl.SSLError as error:
            raise TlsFilesError(f"{name}: {self._wrong(path, error)}") from None
        except _EncryptedKeyError:
            raise TlsFilesError(
                f"{self.settings}KEY_FILE: the key is encrypted. Decrypt it: openssl pkey -in KEY -out PLAIN_KEY"
            ) from None
        except OSError as error:
            which = name if not Path(path).is_file() or not self.key else f"{name} or {self.settings}KEY_FILE"
            raise TlsFilesError(f"{which}: the file cannot be read: {error.strerror}") from None

    def _wrong(self, path: str, error: ssl.SSLError) -> str:
        if "KEY_VALUES_MISMATCH" in str(error):
            return f"the certificate is not that of {self.settings}KEY_FILE"
        return f"{path} is no PEM file of what it should hold ({error.reason or error})"

    def state(self) -> tuple[object, ...]:
        """Another one, when a file was written again."""
        return tuple(_state(path) for path in (self.ca, self.certificate, self.key) if path)


class _EncryptedKeyError(Exception):
    pass


def _no_password() -> str:
    """OpenSSL would ask at the terminal."""
    raise _EncryptedKeyError


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


class _BriefGoodbye(ssl.SSLObject):
    """asyncio and uvloop wait up to 30 s for the server's goodbye, and aiokafka waits for them. A broker that is busy with
    a request reads ours only then: a worker would stand still for that long when it closes a connection."""

    def unwrap(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            super().unwrap()


class FreshContext(ssl.SSLContext):
    """A context whose connections are made with the files as they are then. Files that cannot be used (a key without
    its new certificate yet) leave it as it is."""

    _files: TlsFiles
    _state: tuple[object, ...]
    _newest: ssl.SSLContext

    @classmethod
    def of(cls, files: TlsFiles) -> "FreshContext":
        """Raises TlsFilesError."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._files, context._state, context._newest = files, files.state(), _brief(files.context())
        return context

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """What asyncio's transports and uvloop's make each connection with."""
        state = self._files.state()
        if state != self._state:
            self._state = state
            try:
                self._newest = _brief(self._files.context())
            except TlsFilesError as error:
                log.warning("certificate_not_renewed", reason=str(error))
        return self._newest.wrap_bio(*arguments, **options)


def _brief(context: ssl.SSLContext) -> ssl.SSLContext:
    context.sslobject_class = _BriefGoodbye
    return context


# Reasons of OpenSSL, as Python spells them, of a server that refuses what the client shows.
_CLIENT_REFUSED = (
    "CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_UNKNOWN_CA",
    "ALERT_HANDSHAKE_FAILURE",
    "HANDSHAKE_FAILURE",
)
_EXPIRED, _NOT_YET_VALID, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _UNKNOWN_ISSUER, _WRONG_HOST, _WRONG_IP = (
    10,
    9,
    18,
    19,
    20,
    62,
    64,
)


def tls_advice(error: BaseException, settings: str) -> str | None:
    """What to change after a handshake that failed, or the connection behind it. None where TLS is not the reason.

    `settings`: what the names of the settings begin with.
    """
    of_tls = [cause for cause in causes(error) if isinstance(cause, ssl.SSLError)]
    if not of_tls:
        return None
    # aiohttp's own are kinds of these, without what OpenSSL says.
    for cause in of_tls:
        if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_code"):
            return _advice_on_server(cause, settings)
    reason = next((cause.reason for cause in of_tls if getattr(cause, "reason", None)), str(of_tls[-1]))
    if any(refused in reason for refused in _CLIENT_REFUSED):
        return (
            f"the server refuses the client's certificate ({reason}): is {settings}CERTIFICATE_FILE set, signed by a CA "
            "that the server knows, and not expired?"
        )
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return f"the port does not speak TLS ({reason}): is it the right one, and should the protocol be without TLS?"
    return f"TLS failed ({reason})"


def _advice_on_server(error: ssl.SSLCertVerificationError, settings: str) -> str:
    code, says = error.verify_code, error.verify_message
    if code == _EXPIRED:
        return f"the server's certificate has expired ({says}): renew it on the server"
    if code == _NOT_YET_VALID:
        return f"the server's certificate is not valid yet ({says}): compare the clocks of both machines"
    if code in (_WRONG_HOST, _WRONG_IP):
        return f"the server's certificate is for another name ({says}): use a name that stands in it as the address"
    if code in (_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _UNKNOWN_ISSUER):
        return (
            f"the server's certificate is of an unknown CA ({says}): set {settings}CA_FILE to the CA certificate of your "
            "provider"
        )
    return f"the server's certificate is refused ({says})"


def causes(error: BaseException) -> list[BaseException]:
    """The error and what it came from, the newest first."""
    found: list[BaseException] = []
    now: BaseException | None = error
    while now is not None and now not in found:
        found.append(now)
        now = now.__cause__ or now.__context__
    return found
