"""Parameters that are longer than ClickHouse takes them. Pure.

A field of a form may have 128 KiB (`http_max_field_value_size`, which only the server's own profile can raise). A longer
list or text goes in several fields, and the statement puts it together again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MAX_FIELD_BYTES = 120_000
# What a character becomes at most: a backslash is escaped as a part of a list, and again as a part of a field.
_BYTES_A_CHAR = 4
_MAX_CHARS = _MAX_FIELD_BYTES // _BYTES_A_CHAR
_SEPARATOR_CHARS = 2
# A list of so few numbers is short.
_FEW = 1000

Statement = tuple[str, dict[str, Any]]


def in_short_fields(sql: str, parameters: Mapping[str, Any]) -> Statement:
    """The same statement with no parameter too long."""
    given = dict(parameters)
    for name, value in parameters.items():
        if isinstance(value, str):
            if len(value) > _MAX_CHARS:
                parts: list[Any] = [value[at : at + _MAX_CHARS] for at in range(0, len(value), _MAX_CHARS)]
                sql = _together(sql, given, name, "concat", parts)
        elif isinstance(value, list | tuple) and _is_long(value):
            sql = _together(sql, given, name, "arrayConcat", list(_parts(value)))
    return sql, given


def _is_long(values: Sequence[Any]) -> bool:
    if not values or (not isinstance(values[0], str) and len(values) <= _FEW):
        return False
    return sum(map(_chars, values)) > _MAX_CHARS


def _chars(value: Any) -> int:
    return len(value if isinstance(value, str) else str(value)) + _SEPARATOR_CHARS


def _parts(values: Sequence[Any]) -> Iterator[list[Any]]:
    part: list[Any] = []
    size = 0
    for value in values:
        size += _chars(value)
        if part and size > _MAX_CHARS:
            yield part
            part, size = [], _chars(value)
        part.append(value)
    yield part


def _together(sql: str, given: dict[str, Any], name: str, function: str, parts: Sequence[Any]) -> str:
    """The SQL that names the parts in the place of the parameter, which are `given` instead of it."""
    del given[name]
    names = [f"{name}_part{i:d}" for i in range(len(parts))]
    given.update(zip(names, parts, strict=True))

    def parts_of(found: re.Match[str]) -> str:
        fields = ", ".join(f"{{{part}:{found[1]}}}" for part in names)
        return f"{function}({fields})"

    return re.sub(rf"\{{{re.escape(name)}:([^{{}}]+)\}}", parts_of, sql)
