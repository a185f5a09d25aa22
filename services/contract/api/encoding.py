"""Bodies that are not plain UTF-8: what is read all the same, and what is said about the rest."""

import re

from services.contract.api.errors import ApiError, ErrorCode

_MARKS = re.compile(rb"(?:\xef\xbb\xbf)+")
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x78\x01": "deflate",
    b"\x78\x5e": "deflate",
    b"\x78\x9c": "deflate",
    b"\x78\xda": "deflate",
}
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff", b"\0\0\0")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"\0")


HALVES_REPLACED = "half a surrogate pair{place} is replaced by U+FFFD: do not cut strings inside a character"

_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# Whatever stands before half a pair at a stretch, or that half.
_WITH_HALVES = re.compile(
    rb"((?:[^\\]++|"
    + _PAIR
    + rb"|\\[^u]|\\u(?![dD][89a-fA-F][0-9a-fA-F]{2}))++)|(?:(?!"
    + _PAIR
    + b")"
    + _HALF
    + b")++",
    re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"


def plain_text(body: bytes) -> bytes:
    """The body without a byte order mark. Raises ApiError for compressed bodies and for other encodings."""
    encoding = compression_of(body)
    if encoding is not None:
        raise ApiError(
            ErrorCode.INVALID_ENCODING,
            f"The body is compressed ({encoding}), and no header says so. "
            f"Add `Content-Encoding: {encoding}`, or send plain JSON; compress it once.",
        )
    refuse_wide_characters(body)
    return without_mark(body)


def compression_of(body: bytes) -> str | None:
    """How a body is compressed, by its first bytes."""
    return next((encoding for begin, encoding in COMPRESSED.items() if body.startswith(begin)), None)


def refuse_wide_characters(body: bytes) -> None:
    """Raises ApiError for UTF-16 and UTF-32."""
    # JSON begins with two ASCII characters; a NUL among their bytes tells how many bytes a character has.
    if body.startswith(_UTF_32) or body[1:4] == b"\0\0\0":
        raise _not_utf_8("UTF-32")
    if body.startswith(_UTF_16) or body[1:2] == b"\0":
        raise _not_utf_8("UTF-16")


def without_mark(body: bytes) -> bytes:
    """The body without a byte order mark, or several: whoever puts one before a text may find one there."""
    marks = _MARKS.match(body)
    return body[marks.end() :] if marks else body


def halves_replaced(text: bytes) -> bytes:
    """Valid UTF-8, with U+FFFD for each half of a surrogate pair. Raises UnicodeDecodeError."""
    if b"\xed" in text:
        # Surrogates that were encoded one by one are no UTF-8 either; UTF-16 puts pairs together.
        utf_16 = text.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
        text = utf_16.decode("utf-16-le", "replace").encode()
    if b"\\ud" in text or b"\\uD" in text:
        text = _WITH_HALVES.sub(lambda found: found[1] or _REPLACEMENT * (len(found[0]) // len(_REPLACEMENT)), text)
    return text


def _not_utf_8(encoding: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_JSON, f"The body is {encoding}. Send JSON as UTF-8.")
