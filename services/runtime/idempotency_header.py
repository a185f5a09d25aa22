"""The Idempotency-Key header, which stands for a missing `idempotency_key` of a body."""

from starlette.requests import Request

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_IDEMPOTENCY_KEY_CHARS
from services.contract.placeholders import is_placeholder_key, placeholder_warning
from services.runtime.http import HEADERS_BY_NAME, header

_NAME = b"idempotency-key"


def idempotency_header(request: Request) -> str | None:
    """An empty header is none. Raises ApiError, also for two that differ: whoever stands in between may take either."""
    value = header(request, _NAME)
    # Those of one request by name are there where each name stands once.
    if HEADERS_BY_NAME not in request.scope and _differ(request, value):
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            "Send one Idempotency-Key header: it is not clear which of them counts.",
            field="Idempotency-Key",
        )
    if not value:
        return None
    # HTTP does not say how other characters are written in a header, and a key must be the same key here as in a body.
    if not (len(value) <= MAX_IDEMPOTENCY_KEY_CHARS and value.isascii() and value.isprintable()):
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"The Idempotency-Key header must have 1 to {MAX_IDEMPOTENCY_KEY_CHARS} printable ASCII characters. "
            "Send other keys in the body.",
            field="Idempotency-Key",
        )
    return value


def _differ(request: Request, value: str | None) -> bool:
    return value is not None and any(
        name == _NAME and other.decode("latin-1") != value for name, other in request.scope["headers"]
    )


def usable_header(request: Request) -> tuple[str | None, list[str]]:
    """As `idempotency_header`, and a warning where it is a placeholder, which counts as none."""
    key = idempotency_header(request)
    if key is None or not is_placeholder_key(key):
        return key, []
    return None, [placeholder_warning(key, " in the header")]
