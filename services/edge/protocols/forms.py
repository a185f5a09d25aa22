"""Bodies that are forms, and base64 in the place of JSON."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from urllib.parse import parse_qsl

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.latin_1 import LATIN_1

_MAX_FIELDS = 100
_BEGIN_OF_JSON = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*[{\[]")


def is_json(body: bytes) -> bool:
    """By its first character, behind a byte order mark and blanks."""
    return _BEGIN_OF_JSON.match(body) is not None


def form_of(body: bytes, field: bytes = b"data") -> dict[str, str] | None:
    """The fields of a form that has `field`, each once; None for a body that is none. Raises ApiError."""
    if is_json(body) or (not body.startswith(field + b"=") and b"&%b=" % field not in body):
        return None
    try:
        return dict(reversed(pairs_of(body, _MAX_FIELDS)))
    except ValueError as error:
        raise ApiError(ErrorCode.INVALID_FIELD, f"The form has more than {_MAX_FIELDS} fields.") from error


def pairs_of(data: bytes, most: int | None = None) -> list[tuple[str, str]]:
    """The names and values of a form, or of an address. What is no UTF-8 in them is Latin-1, escaped or not. Raises
    ValueError for more than `most`."""
    try:
        text = data.decode()  # some leave letters as they are
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=most, errors="surrogateescape")
    return [(name.translate(LATIN_1), value.translate(LATIN_1)) for name, value in pairs]


def unpacked(data: str) -> bytes:
    """JSON, or base64 of it, as text of JSON. Raises ApiError."""
    raw = data.strip().encode("utf-8", "surrogatepass")
    if is_json(raw):
        return raw
    try:
        return b64decode(raw.replace(b" ", b"+").replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(raw) % 4))
    except (Base64Error, ValueError) as error:
        raise ApiError(ErrorCode.INVALID_ENCODING, "`data` is neither JSON nor base64.", field="data") from error
