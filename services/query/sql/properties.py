"""The names of the columns that promoted properties have: from keys, and back. Pure.

A key becomes a part of statements, so few characters are taken. Dots are written as slashes: `a.size` would be a part
of the column `a` to ClickHouse, where `a` is text.
"""

import re
from collections.abc import Iterable

# Keys of the properties that have a column of their own.
Promoted = frozenset[str]
NONE_PROMOTED: Promoted = frozenset()

PREFIX = "property_"  # of the columns' names
_KEY = re.compile(r"[A-Za-z0-9_.$-]{1,64}")


def is_promotable(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def column_name(key: str) -> str:
    """The key must be promotable."""
    return PREFIX + key.replace(".", "/")


def property_column(key: str) -> str:
    """SQL: the column's name in quotes."""
    return f"`{column_name(key)}`"


def promoted_keys(columns: Iterable[str]) -> Promoted:
    """From the names of a table's columns; what no key is the name for is left out."""
    keys = (name.removeprefix(PREFIX).replace("/", ".") for name in columns if name.startswith(PREFIX))
    return frozenset(filter(is_promotable, keys))
