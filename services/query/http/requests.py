"""What the query calls have in common: bodies, headers, and whose project a request is about."""

from starlette.requests import Request

from services.contract.api.encoding import compression_of, refuse_wide_characters
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.placeholders import is_placeholder_key, placeholder_warning
from services.query.http.tables import wants_csv
from services.runtime.http import authorization_of, listed_header, receive_body
from services.runtime.idempotency_header import usable_header
from services.runtime.keys import KeyCache, Scope

MAX_BODY_BYTES = 1024 * 1024
_ADVICE = "A query is small: ask for less, or in several queries."
# A table is another form of an answer than JSON, and so has another tag.
CSV_TAG = "-csv"


async def project_of(request: Request, keys: KeyCache, *also: Scope) -> str:
    """The project of a key that has the scope `query`, and the other scopes too. Raises ApiError."""
    given = authorization_of(request)
    key = await keys.authorize(given, Scope.QUERY)
    for scope in also:
        key = await keys.authorize(given, scope)
    return key.project_id


async def query_body(request: Request, max_bytes: int = MAX_BODY_BYTES, advice: str = _ADVICE) -> bytes:
    """At most 1 MiB of JSON as it is: queries are small, so encodings are not taken."""
    body = await receive_body(request, max_bytes, advice)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and media_type not in ("", "application/json"):
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Content-Type `{media_type[:100]}` is not taken. Send application/json."
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise ApiError(
            ErrorCode.UNSUPPORTED_ENCODING, f"Content-Encoding `{encoding[:100]}` is not taken here. Send plain JSON."
        )
    compressed = compression_of(body)
    if compressed is not None:
        raise ApiError(
            ErrorCode.UNSUPPORTED_ENCODING,
            f"The body is compressed ({compressed}), which is not taken here. Send plain JSON.",
        )
    refuse_wide_characters(body)
    return body


def idempotency_key(request: Request, in_body: str | None, warnings: list[str]) -> str | None:
    """The body's key, else the header's. A placeholder counts as none, with a warning: else all that a broken client asks
    for but the first would vanish behind 2xx. Raises ApiError."""
    if in_body is not None:
        if not is_placeholder_key(in_body):
            return in_body
        warnings.append(placeholder_warning(in_body))
    key, more = usable_header(request)
    warnings += more
    return key


def known_tags(request: Request) -> list[str]:
    """The tags of If-None-Match, without what says which form of the answer it was."""
    tags = (one.strip().removeprefix("W/").strip('"') for one in listed_header(request, "if-none-match").split(","))
    form = CSV_TAG if wants_csv(listed_header(request, "accept")) else ""
    return [tag.removesuffix(form) for tag in tags if tag and tag.endswith(form)]


def whole_number(request: Request, name: str, default: int, largest: int) -> int:
    """A parameter of the address, from 1 to the largest. Raises ApiError."""
    text = request.query_params.get(name)
    if not text:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= largest:
        raise ApiError(ErrorCode.INVALID_FIELD, f"`{name}` must be a whole number from 1 to {largest}.", field=name)
    return number
