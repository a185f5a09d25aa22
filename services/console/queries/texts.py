"""What people type <-> values. `10` is a number, `pro` a text, `"10"` a text too; what is JSON is read as JSON."""

from typing import Any

import msgspec

ANY_EVENT = "*"


def value_of(text: str) -> Any:
    """JSON where it is JSON, else the text itself without the blanks around it."""
    text = text.strip()
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text


def text_of(value: Any) -> str:
    """What `value_of` reads as this value: the bare text where that will do. Inputs of a page drop line ends."""
    if isinstance(value, str) and value.isprintable() and same(value_of(value), value) and value:
        return value
    return json_text(value)


def values_of(text: str) -> list[Any]:
    """`a, b` or `["a", "b"]`."""
    whole = value_of(text)
    if isinstance(whole, list):
        return whole
    return [value_of(part) for part in text.split(",") if part.strip()]


def text_of_values(values: list[Any]) -> str:
    text = ", ".join(map(text_of, values))
    return text if values and same(values_of(text), values) else json_text(values)


def name_of(text: str) -> str:
    """A name is its text, also where that looks like a number; between quotation marks it is JSON."""
    text = text.strip()
    if text.startswith('"'):
        whole = value_of(text)
        return whole if isinstance(whole, str) else text
    return text


def text_of_name(name: str) -> str:
    return name if name.isprintable() and name_of(name) == name and name not in ("", ANY_EVENT) else json_text(name)


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def same(one: Any, other: Any) -> bool:
    """Also by type: to Python, 1, 1.0 and true are equal."""
    return msgspec.json.encode(one) == msgspec.json.encode(other)
