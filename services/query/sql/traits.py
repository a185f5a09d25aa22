"""People by their traits and groups, from the identity log: `person.plan`, `group.company`, `group.company.plan`.

A trait is the fold of all calls about a person's ids (or a group): in the order of their moments `traits` sets it, null
removes it, `set_once` sets it where there is none; in one call `traits` come first. Each condition is one pass over the
project's part of the log, whatever the number of events.
"""

from collections.abc import Callable, Sequence

from services.contract.tables import IDENTITY_LOG
from services.query.sql.events import NOT_DELETED
from services.query.sql.json_text import json_array, json_text
from services.query.sql.moments import MOMENT
from services.query.sql.parameters import Parameters
from services.query.sql.persons import PERSON, PERSON_ID, join_persons

# Kinds of calls with traits of people.
IDENTIFIES = "('identify', 'link')"
# Most links say none: their rows are passed over before any JSON is read or a person looked up.
_SAYS_TRAITS = "(e.traits NOT IN ('', '{}') OR e.set_once NOT IN ('', '{}'))"
_LOG = f"FROM {IDENTITY_LOG} AS e"
_OF_PROJECT = f"WHERE e.project_id = {{project:String}} AND {NOT_DELETED}"


def group_of_people(group_type: str, who: str = PERSON) -> str:
    """Rows (who, group_key): the group of a type that each person was put into last. `group_type` is SQL."""
    return (
        f"SELECT {who} AS who, argMax(e.group_key, {MOMENT}) AS group_key {_LOG} {join_persons(who == PERSON_ID)} "
        f"{_OF_PROJECT} AND e.kind = 'group' AND e.group_type = {group_type} AND e.distinct_id != '' GROUP BY who"
    )


def trait_holders(
    key: str, value_holds: str, parameters: Parameters, who: str = PERSON, *, arrays: bool = False
) -> str:
    """The people (one column, `who`) for whom `value_holds`, SQL about the JSON text `value`, which is never empty.
    `arrays`: it is that of `json_array`."""
    subject, _, name = key.partition(".")
    if subject == "person":
        of_kind = f"{join_persons(who == PERSON_ID)} {_OF_PROJECT} AND e.kind IN {IDENTIFIES}"
        return f"SELECT who FROM ({_values(who, name, of_kind, parameters, arrays)}) WHERE {value_holds}"
    group_type, dot, trait = name.partition(".")
    kind = parameters.add(group_type, "String")
    members = group_of_people(kind, who)
    if not dot:
        return f"SELECT who FROM (SELECT who, toJSONString(group_key) AS value FROM ({members})) WHERE {value_holds}"
    groups = group_holders(kind, trait, value_holds, parameters, arrays=arrays)
    return f"SELECT who FROM ({members}) WHERE group_key IN ({groups})"


def group_holders(
    group_type: str, trait: str, value_holds: str, parameters: Parameters, *, arrays: bool = False
) -> str:
    """The groups (one column, their keys) of a type (SQL) for whose trait `value_holds`, as above."""
    return f"SELECT who FROM ({group_values(group_type, trait, parameters, arrays=arrays)}) WHERE {value_holds}"


def person_values(trait: str, parameters: Parameters) -> str:
    """Rows (who, value): the JSON text of a trait of those people who have it."""
    of_kind = f"{join_persons(False)} {_OF_PROJECT} AND e.kind IN {IDENTIFIES}"
    return _values(PERSON, trait, of_kind, parameters)


def group_values(group_type: str, trait: str, parameters: Parameters, *, arrays: bool = False) -> str:
    """Rows (who, value) of the groups of a type (SQL); `who` is a group's key."""
    of_kind = f"{_OF_PROJECT} AND e.kind = 'group' AND e.group_type = {group_type}"
    return _values("e.group_key", trait, of_kind, parameters, arrays)


def latest_traits(who: str, source: str) -> str:
    """Rows (who, text, names): the text of a call, and which of its traits `who` has of it. Values come back unharmed so, and a
    text is read once, however many traits it has. `source`: what stands behind `FROM identity_log AS e`, and leaves the calls."""
    said = (
        f"SELECT {who} AS who, e.event_id AS event_id, {MOMENT} AS moment, arrayJoin(arrayConcat("
        "arrayMap(x -> (x.1, x.2 = 'null', false), JSONExtractKeysAndValuesRaw(e.traits)), "
        "arrayMap(x -> (x.1, x.2 = 'null', true), JSONExtractKeysAndValuesRaw(e.set_once)))) AS said, "
        f"said.1 AS name, said.2 AS is_null, said.3 AS once {_LOG} {source}"
    )
    sources = (
        "SELECT who, name, countIf(NOT once) = 0 OR argMaxIf(is_null, moment, NOT once) AS is_once, "
        "maxIf(moment, NOT once) AS last_at, argMaxIf(event_id, moment, NOT once) AS last, "
        "arraySort(groupArrayIf((moment, event_id), once AND NOT is_null)) AS onces, "
        f"if(is_once, arrayFirst(x -> x.1 >= last_at, onces).2, last) AS source FROM ({said}) GROUP BY who, name"
    )
    return (
        "SELECT who, any(if(is_once, log.set_once, log.traits)), any(names) FROM "
        f"(SELECT who, source, is_once, groupArray(name) AS names FROM ({sources}) GROUP BY who, source, is_once) AS found "
        "INNER JOIN (SELECT e.event_id AS event_id, e.traits AS traits, e.set_once AS set_once "
        f"{_LOG} {source}) AS log ON log.event_id = found.source GROUP BY who, source, is_once"
    )


def traits_of_people(people: str) -> str:
    """`latest_traits` of people, an array of their numbers as SQL."""
    of_people = f"{join_persons(False)} {_OF_PROJECT} AND e.kind IN {IDENTIFIES} AND {_SAYS_TRAITS}"
    return latest_traits(PERSON, f"{of_people} AND {PERSON} IN {people}")


def traits_of_groups(group_type: str, keys: str) -> str:
    """`latest_traits` of groups of a type, an array of their keys as SQL."""
    of_groups = f"{_OF_PROJECT} AND e.kind = 'group' AND e.group_type = {group_type} AND {_SAYS_TRAITS}"
    return latest_traits("e.group_key", f"{of_groups} AND e.group_key IN {keys}")


def _values(who: str, trait: str, of_kind: str, parameters: Parameters, arrays: bool = False) -> str:
    """`of_kind`: joins and conditions that leave the calls about `who`."""
    # A dotted name is the trait of that very name where there is one, else the way into an object.
    text_of = json_array if arrays else json_text
    place = parameters.add(trait, "String")
    read: list[Callable[[str], str]] = [lambda column: text_of(column, place)]
    value = "value_0"
    if "." in trait:
        way = [parameters.add(name, "String") for name in trait.split(".")]
        read.append(lambda column: _inside(column, way, text_of))
        value = "if(value_0 != '', value_0, substring(value_1, 2))"
    texts, columns = [], []
    for i, text in enumerate(read):
        texts += [f"{text('e.traits')} AS trait_{i:d}", f"{text('e.set_once')} AS once_{i:d}"]
        columns += _folded(f"trait_{i:d}", f"once_{i:d}", f"value_{i:d}")
    told = " OR ".join(f"{text} != ''" for i in range(len(read)) for text in (f"trait_{i:d}", f"once_{i:d}"))
    folded = (
        f"WITH {', '.join(texts)} SELECT {who} AS who, {', '.join(columns)} {_LOG} {of_kind} AND {_SAYS_TRAITS} "
        f"AND ({told}) GROUP BY who"
    )
    return f"SELECT who, {value} AS value FROM ({folded}) WHERE value != ''"


def _inside(column: str, way: Sequence[str], text_of: Callable[..., str]) -> str:
    """The text of what a trait has inside, behind a mark: the call says the trait, whatever is inside. Read from the column,
    because in the text of an object ClickHouse writes whole numbers beyond 64 bits as strings."""
    return (
        f"multiIf(NOT JSONHas({column}, {way[0]}), '', JSONType({column}, {way[0]}) = 'Null', 'null', "
        f"concat('=', {text_of(column, *way)}))"
    )


def _folded(trait: str, once: str, value: str) -> list[str]:
    """Aggregates of the calls' JSON texts of one trait; that of the name `value` is what it is now, empty for none."""
    return [
        f"argMaxIf({trait}, {MOMENT}, {trait} != '') AS {value}_last",
        f"maxIf({MOMENT}, {trait} != '') AS {value}_last_at",
        f"groupArrayIf(({MOMENT}, {once}), {once} NOT IN ('', 'null')) AS {value}_onces",
        f"if({value}_last NOT IN ('', 'null'), {value}_last, "
        f"arrayFirst(x -> x.1 >= {value}_last_at, arraySort({value}_onces)).2) AS {value}",
    ]
