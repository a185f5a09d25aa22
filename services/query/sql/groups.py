"""The group of a type that an event belongs to: its own `$groups` first, else the one its person was in at that time.

A person is in a group from a `group` call on, until the next one of that type; before the first in none. Of equal times
the receipt decides which came first, the call or the event; of both, the call did. Calls without a member (they give
traits to a group) are of no event: an id is never empty.
"""

from collections.abc import Iterable

from xxhash import xxh3_64_hexdigest

from services.contract.tables import IDENTITY_LOG
from services.query.sql.events import NOT_DELETED
from services.query.sql.parameters import Parameters
from services.query.sql.persons import PERSON, join_persons

_NO_KEYS = "('Bool', 'Object', 'Array')"
# An ASOF join compares one column of at most 128 bits: timestamp, time of receipt, the first bits of a call's id. 52 bits
# of microseconds last until 2112.
_TIME_BITS, _ID_BITS = 52, 23


def _moment(id_bits: str) -> str:
    """When a row `e` was said and received, as one number."""
    time, received = (f"toInt128(toUnixTimestamp64Micro(e.{name}))" for name in ("timestamp", "received_at"))
    number = f"bitShiftLeft({time}, {_TIME_BITS + _ID_BITS:d}) + bitShiftLeft({received}, {_ID_BITS:d}) + toInt128({id_bits})"
    return f"reinterpret({number}, 'Decimal128(0)')"


_CALL_MOMENT = _moment(f"bitShiftRight(toUInt128(e.event_id), {128 - _ID_BITS:d})")
_EVENT_MOMENT = _moment(str(2**_ID_BITS - 1))

_JOIN_CALLS = f" ASOF LEFT JOIN (SELECT {PERSON} AS who, {_CALL_MOMENT} AS moment, e.group_key AS group_key"


def event_group(group_type: str, parameters: Parameters) -> str:
    """SQL: the key of the group of an event `e`, empty for none. Needs `group_joins` of that type."""
    # Also where `$groups.<type>` is promoted: that is a property of that very name first, which is no group. A key is a string;
    # numbers are taken as they are written. Without names in the SQL: the same type may be spoken of several times, and what
    # is written twice is worked out once.
    place = parameters.add(group_type, "String")
    is_none = f"e.groups = '' OR JSONType(e.groups, {place}) IN {_NO_KEYS}"
    key = f"if({is_none}, '', JSONExtract(e.groups, {place}, 'String'))"
    # Written once: every server works out the text of a statement, and that of a key is long.
    return f"ifNull(nullIf({key}, ''), {_alias(group_type)}.group_key)"


def event_group_text(group_type: str, parameters: Parameters) -> str:
    """SQL: the key as JSON text, as properties are read; empty for none."""
    return key_text(event_group(group_type, parameters))


def key_text(key: str) -> str:
    """SQL: a key as JSON text; empty for none."""
    return f"ifNull(nullIf(toJSONString({key}), '\"\"'), '')"


def event_joins(group_types: Iterable[str | None], parameters: Parameters, *, persons: bool, named: bool) -> str:
    """What follows `events AS e`: people where they are spoken of (`named`: by their ids), and the groups of some types."""
    types = list(dict.fromkeys(one for one in group_types if one is not None))
    if not (persons or named or types):
        return ""
    return join_persons(named) + "".join(_group_join(one, parameters) for one in types)


def joined(table: str, rows: str, joins: str) -> str:
    """What stands behind FROM, up to a condition that more may follow, behind AND. `rows`: of which rows `e` of the table,
    in words of its columns alone; `joins`: see `event_joins`.

    Where groups are joined the rows come first. So on a cluster the shards send them, and the server that is asked joins:
    else each shard would read and sort all calls for itself. On one server it makes no difference. They are `e` without AS: see
    `with_joined_deletions`.
    """
    if _JOIN_CALLS not in joins:
        return f"{table} {joins} WHERE {rows}"
    return f"(SELECT e.* FROM {table} WHERE {rows}) e {joins} WHERE true"


def _group_join(group_type: str, parameters: Parameters) -> str:
    named, place = _alias(group_type), parameters.add(group_type, "String")
    calls = (
        f"FROM {IDENTITY_LOG} AS e {join_persons(False)} WHERE e.project_id = {{project:String}} AND {NOT_DELETED} "
        f"AND e.kind = 'group' AND e.group_type = {place}"
    )
    return f"{_JOIN_CALLS} {calls}) AS {named} ON {named}.who = {PERSON} AND {named}.moment <= {_EVENT_MOMENT}"


def _alias(group_type: str) -> str:
    """A name for SQL that follows from the type and holds none of it."""
    return f"group_{xxh3_64_hexdigest(group_type.encode())}"
