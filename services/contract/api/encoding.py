"""Bodies that are not plain UTF-8: what is read all the same, and what is said about the rest."""

from services.contract.api.errors import ApiError, ErrorCode

_BOM = b"\xef\xbb\xbf"
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


def plain_text(body: bytes) -> bytes:
    """The body without a byte order mark. Raises ApiError for compressed bodies and for other encodings."""
    for begin, encoding in COMPRESSED.items():
        if body.startswith(begin):
            raise ApiError(
                ErrorCode.INVALID_ENCODING,
                f"The body is compressed ({encoding}), and no header says so. "
                f"Add `Content-Encoding: {encoding}`, or send plain JSON; compress it once.",
            )
    # JSON begins with two ASCII characters; a NUL among their bytes tells how many bytes a character has.
    if body.startswith(_UTF_32) or body[1:4] == b"\0\0\0":
        raise _not_utf_8("UTF-32")
    if body.startswith(_UTF_16) or body[1:2] == b"\0":
        raise _not_utf_8("UTF-16")
    return body.removeprefix(_BOM)


def _not_utf_8(encoding: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_JSON, f"The body is {encoding}. Send JSON as UTF-8.")
