"""How a stored property is read: from a column of its own where it is promoted, else from the JSON text.

A key becomes a part of statements, so few characters are taken. Dots are written as slashes: `a.size` would be a part
of the column `a` to ClickHouse, where `a` is text.
"""

import re
from collections.abc import Callable, Iterable

from services.contract.tables import PROMOTED_PREFIX
from services.query.sql.json_text import json_members, json_text_of_first
from services.query.sql.parameters import Parameters, Promoted

# Stands in the definition of a column that was promoted by this version; older ones were defined in another way.
DEFINITION_MARK = "JSONMergePatch"
_KEY = re.compile(r"[A-Za-z0-9_.$-]{1,64}")


def is_promotable(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def column_name(key: str) -> str:
    """The key must be promotable."""
    return PROMOTED_PREFIX + key.replace(".", "/")


def property_column(key: str) -> str:
    """SQL: the column's name in quotes."""
    return f"`{column_name(key)}`"


def promoted_keys(columns: Iterable[str]) -> Promoted:
    """From the names of a table's columns; what no key is the name for is left out."""
    keys = (
        name.removeprefix(PROMOTED_PREFIX).replace("/", ".") for name in columns if name.startswith(PROMOTED_PREFIX)
    )
    return frozenset(filter(is_promotable, keys))


def event_property(key: str, parameters: Parameters, condition: str = "") -> str:
    """The SQL of the JSON text of a property of `events AS e`: its own column, where it has one. `condition`: of other events
    it is empty."""
    is_promoted = key in parameters.promoted
    column, without = (f"e.{property_column(key)}", "") if is_promoted else ("e.properties", "{}")
    if condition:
        # The column, not what is made of it: ClickHouse works out more than it must within an `if`.
        column = f"if({condition}, {column}, '{without}')"
    return column if is_promoted else property_text(column, key, parameters)


def event_members(key: str, parameters: Parameters) -> str:
    """The SQL of the JSON texts of the members of a property of `events AS e` that is an array."""
    name = parameters.add(key, "String")
    whole = json_members("e.properties", name)
    if "." not in key:
        return whole
    way = [parameters.add(part, "String") for part in key.split(".")]
    return f"if(JSONHas(e.properties, {name}), {whole}, {json_members('e.properties', *way)})"


def property_text(column: str, key: str, parameters: Parameters) -> str:
    """The SQL of a property's JSON text in a column of JSON objects. A dotted key is a property of that very name where there is one, else the way into nested objects."""
    return _property_text(column, key, lambda name: parameters.add(name, "String"), parameters.alias())


def column_definition(key: str) -> str:
    """The SQL of what a promoted property's column holds: what property_text reads. The key must be promotable."""
    return _property_text("properties", key, lambda name: f"'{name}'")


def _property_text(column: str, key: str, place: Callable[[str], str], alias: str = "") -> str:
    """`place` gives the SQL of a name."""
    paths = [[place(key)]]
    if "." in key:
        paths.append([place(part) for part in key.split(".")])
    return json_text_of_first(column, paths, alias)
