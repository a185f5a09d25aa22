"""A sample of JSON objects -> what properties they have: how many of them, of which types, with which values. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw

from services.contract.api.catalog import MAX_TOP_VALUES, MAX_VALUE_BYTES, CatalogProperty, CatalogValue
from services.contract.repeated_names import readable_object
from services.query.sql.json_text import EXPONENTS_FROM

# Names in objects in objects are shown with dots, so deep.
_MAX_LEVELS = 3
_DOUBLES_TO = 10**308
_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
Object = Mapping[str, Any]


def object_of(text: str) -> Object:
    """Of a stored object; of a name that stands twice the first counts, as in answers."""
    try:
        found: Object = msgspec.json.decode(readable_object(text.encode()), type=dict[str, Any])
    except msgspec.DecodeError:  # a number that no double holds, of another producer than the edge
        return {}
    return found


def folded(calls: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What calls (traits, set once), in order, leave of the traits."""
    traits: dict[str, Any] = {}
    for said, once in calls:
        traits |= object_of(said)
        for name in [name for name, value in traits.items() if value is None]:
            del traits[name]
        for name, value in object_of(once).items():
            if value is not None:
                traits.setdefault(name, value)
    return traits


def summary(objects: Sequence[Object], search: str, limit: int) -> list[CatalogProperty]:
    """Those that most have first, then by name; `search`: with this text in their names."""
    types: defaultdict[str, Counter[str]] = defaultdict(Counter)
    values: defaultdict[str, Counter[bytes]] = defaultdict(Counter)
    for one in objects:
        # Of a name with dots the property of that very name counts, as in filters, and each name once.
        for name, value in {**dict(_flat(one)), **one}.items():
            types[name][_TYPES.get(type(value), "null")] += 1
            if not isinstance(value, dict) and len(text := _text(value)) <= MAX_VALUE_BYTES:
                values[name][text] += 1
    wanted = [name for name in types if search.lower() in name.lower()]
    ordered = sorted(wanted, key=lambda name: (-types[name].total(), name))[:limit]
    return [_property(name, types[name], values[name], len(objects)) for name in ordered]


def _text(value: Any) -> bytes:
    return msgspec.json.encode(_written(value))


def _written(value: Any) -> Any:
    """As breakdowns write it: 1 and 1.0 are one value, and so are 0 and -0.0, 1e20 and its digits; in arrays too."""
    if isinstance(value, list):
        return [_written(member) for member in value]
    if isinstance(value, dict):
        return {name: _written(member) for name, member in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) < EXPONENTS_FROM:
        return int(Decimal(repr(value)))
    if isinstance(value, int) and EXPONENTS_FROM <= abs(value) < _DOUBLES_TO and Decimal(repr(float(value))) == value:
        return float(value)
    return value


def _flat(one: Object, before: str = "", level: int = 1) -> Iterator[tuple[str, Any]]:
    """Without what no query finds: a dot in the name of an object, or inside of one, is taken for the way into another."""
    for name, value in one.items():
        if level > 1 and "." in name:
            continue
        yield before + name, value
        if isinstance(value, dict) and level < _MAX_LEVELS and "." not in name:
            yield from _flat(value, f"{before}{name}.", level + 1)


def _property(name: str, types: Counter[str], values: Counter[bytes], sample: int) -> CatalogProperty:
    having = types.total()
    top = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:MAX_TOP_VALUES]
    return CatalogProperty(
        name=name,
        share=having / sample,
        types={kind: number / having for kind, number in sorted(types.items())},
        top=[CatalogValue(value=Raw(text), share=number / sample) for text, number in top],
    )
