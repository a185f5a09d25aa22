"""Turns what the JSON decoder says into errors that a client can act on."""

import re

import msgspec

from services.contract.api.errors import ApiError, ErrorCode

_AT = re.compile(r" - at `\$\.?(.*?)`$")
_MISSING = re.compile(r"^Object missing required field `(.+?)`")
_TRUNCATED, _ENDS_EARLY = "Input data was truncated", "it is empty, or ends before its last bracket. Send all of it"
_TYPE_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def invalid_json(error: Exception, subject: str = "The body") -> ApiError:
    """`error` is msgspec.DecodeError, UnicodeDecodeError or RecursionError; the message says where in the subject."""
    if isinstance(error, RecursionError):
        return ApiError(ErrorCode.TOO_DEEP, f"{subject} is nested too deeply. Flatten it.")
    if isinstance(error, UnicodeDecodeError):
        return ApiError(
            ErrorCode.INVALID_JSON,
            f"{subject} is not valid UTF-8: {error.reason} (byte {error.start}). Send JSON as UTF-8.",
        )
    reason = str(error).removeprefix("JSON is malformed: ").replace(_TRUNCATED, _ENDS_EARLY)
    return ApiError(ErrorCode.INVALID_JSON, f"{subject} is not valid JSON: {_lower_first(reason)}.")


def invalid_message(error: msgspec.ValidationError, at: str = "", subject: str = "The body") -> ApiError:
    """The field that has the wrong type or size, and what was expected. `at` is the path of the decoded value."""
    text = str(error)
    found = _AT.search(text)
    path = found.group(1) if found else ""
    reason = text[: found.start()] if found else text
    missing = _MISSING.match(reason)
    if missing:
        field = _join(at, path, missing.group(1))
        return ApiError(ErrorCode.MISSING_FIELD, f"`{field}` is required.", field=field)
    field = _join(at, path)
    place = f"`{field}`" if field else subject
    return ApiError(ErrorCode.INVALID_FIELD, f"{place}: {_plain(reason)}.", field=field or None)


def _join(*parts: str) -> str:
    path = ""
    for part in parts:
        if part:
            path += part if part.startswith("[") or not path else f".{part}"
    return path


def _plain(reason: str) -> str:
    """JSON's names for types instead of Python's."""
    return _lower_first(re.sub(r"`([^`]*)`", lambda m: _json_types(m.group(1)), reason))


def _json_types(names: str) -> str:
    plain = dict.fromkeys(_TYPE_NAMES.get(n.strip(), n.strip()) for n in names.split("|"))
    return " or ".join(plain)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def invalid_field(field: str, reason: str, code: ErrorCode = ErrorCode.INVALID_FIELD) -> ApiError:
    """`reason` goes on where the field's name stands as the subject."""
    return ApiError(code, f"`{field}` {reason}.", field=field)


def refuse_nul(value: str | None, field: str) -> None:
    """Names and ids end up in URLs, files and C programs: NUL is refused there. Raises ApiError."""
    if value is not None and "\0" in value:
        raise invalid_field(field, "must not contain the character NUL")
