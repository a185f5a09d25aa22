"""Turns what the JSON decoder says into errors that a client can act on."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from services.contract.api.errors import ApiError, ErrorCode

_AT = re.compile(r" - at `\$\.?(.*?)`$")
_MISSING = re.compile(r"^Object missing required field `(.+?)`")
_NO_WORD, _STEP = "Invalid enum value", re.compile(r"[^.\[\]]+")
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


def invalid_message(
    error: msgspec.ValidationError, at: str = "", subject: str = "The body", kind: Any = None
) -> ApiError:
    """The field that has the wrong type or size, and what was expected. `at` is the path of the decoded value. `kind`: its
    type, where it has fields that take some words alone."""
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
    taken = _words(kind, path) if reason.startswith(_NO_WORD) else []
    if taken:
        return ApiError(ErrorCode.INVALID_FIELD, f"{place} must be one of {', '.join(taken)}.", field=field or None)
    return ApiError(ErrorCode.INVALID_FIELD, f"{place}: {_plain(reason)}.", field=field or None)


def _words(kind: Any, path: str) -> list[str]:
    """Those that a field of a type takes."""
    found = [inspect.type_info(kind)]
    for step in _STEP.findall(path):
        found = [inner for one in found for inner in _inner(one, step)]
    return [str(word) for one in found for plain in _plain_types(one) for word in getattr(plain, "values", ())]


def _inner(of: inspect.Type, step: str) -> Iterator[inspect.Type]:
    for one in _plain_types(of):
        if isinstance(one, inspect.StructType):
            yield from (field.type for field in one.fields if field.encode_name == step)
        elif isinstance(one, inspect.ListType):
            yield one.item_type


def _plain_types(of: inspect.Type) -> Iterator[inspect.Type]:
    """Without what is said about a type, and each of several."""
    if isinstance(of, inspect.Metadata):
        yield from _plain_types(of.type)
    elif isinstance(of, inspect.UnionType):
        for one in of.types:
            yield from _plain_types(one)
    else:
        yield of


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
