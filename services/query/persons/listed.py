"""People and groups as lists show them: their ids, and what their traits are now. Of a page at a time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from services.contract.api.people import ListedGroup, ListedPerson
from services.contract.repeated_names import first_of_each_name
from services.contract.tables import COHORT_IDS, IDENTITY_LOG, PERSON_IDS
from services.query.execution.executor import QueryExecutor
from services.query.persons.seen import Seen
from services.query.sql.event_filter import names_sql
from services.query.sql.events import EVENTS_WITH_DUPLICATES, IN_WINDOW, NOT_DELETED, window_parameters
from services.query.sql.parameters import Parameters
from services.query.sql.persons import people_of_rows, rows_of_page
from services.query.sql.traits import traits_of_groups, traits_of_people
from services.runtime.at_once import at_once

Traits = dict[str, Raw]


class Listed(NamedTuple):
    """`who`: the hash that the person is counted by."""

    who: int
    person: ListedPerson


_OF_IDS = "e.distinct_hash IN {ids:Array(UInt64)}"
# Of sets that were made before there were names: the key may have no row of its own.
_IN_SETS = (
    f"SELECT person_hash, any(person_id) FROM {PERSON_IDS} FINAL WHERE project_id = {{project:String}} "
    "AND person_hash IN {ids:Array(UInt64)} GROUP BY person_hash"
)
_IN_LISTS = (
    f"SELECT sipHash64(project_id, distinct_id) AS hash, any(distinct_id) FROM {COHORT_IDS} "
    "WHERE project_id = {project:String} AND list_id IN {lists:Array(String)} AND hash IN {ids:Array(UInt64)} GROUP BY hash"
)
_IN_LOG = (
    f"SELECT e.distinct_hash, any(e.distinct_id) FROM {IDENTITY_LOG} AS e WHERE e.project_id = {{project:String}} "
    f"AND {_OF_IDS} AND {NOT_DELETED} GROUP BY e.distinct_hash"
)


async def listed_people(store: QueryExecutor, project_id: str, people: Sequence[int], seen: Seen) -> list[Listed]:
    """In their order. `people`: the hashes that they are counted by; `seen`: where each has an event, if not a call."""
    if not people:
        return []
    async with at_once() as tasks:
        named = tasks.create_task(_names(store, project_id, people, seen))
        sql = traits_of_people("{ids:Array(UInt64)}")
        known = tasks.create_task(_traits(store, project_id, sql, {"ids": list(people)}))
    names, traits = named.result(), known.result()
    # Without a name: deleted between two statements.
    return [
        Listed(who, ListedPerson(person_id=names[who], traits=traits.get(who, {}))) for who in people if who in names
    ]


async def listed_groups(
    store: QueryExecutor, project_id: str, group_type: str, keys: Sequence[str]
) -> list[ListedGroup]:
    sql = traits_of_groups("{type:String}", "{keys:Array(String)}")
    traits = await _traits(store, project_id, sql, {"type": group_type, "keys": list(keys)})
    return [ListedGroup(group_key=key, traits=traits.get(key, {})) for key in keys]


async def _names(store: QueryExecutor, project_id: str, people: Sequence[int], seen: Seen) -> dict[int, str]:
    """Whoever was never merged is an id alone, which the events have. Where few events can be theirs, these are asked at
    once; else after the log, which is read as a whole."""
    named = Parameters("seen")
    in_events = (
        f"SELECT e.distinct_hash, any(e.distinct_id) FROM {EVENTS_WITH_DUPLICATES} WHERE {IN_WINDOW} "
        f"AND {names_sql(seen.names, named)} AND {_OF_IDS} GROUP BY e.distinct_hash"
    )
    parameters: dict[str, Any] = {**window_parameters(project_id, seen.window), **named.values, "ids": list(people)}
    of_page = rows_of_page("{ids:Array(UInt64)}")
    if seen.names is None:
        names, later = people_of_rows(await store.rows(of_page, parameters)), [_IN_SETS, _IN_LOG, in_events]
    else:
        async with at_once() as tasks:
            of_sets = tasks.create_task(store.rows(of_page, parameters))
            alone = tasks.create_task(store.rows(in_events, parameters))
        names = {row[0]: row[1] for row in alone.result()} | people_of_rows(of_sets.result())
        later = [_IN_SETS, _IN_LOG]
    if seen.lists:
        parameters["lists"] = list(seen.lists)
        later.insert(0, _IN_LISTS)
    for sql in later:
        missing = [who for who in people if who not in names]
        if missing:
            rows = await store.rows(sql, {**parameters, "ids": missing})
            names |= {who: name for who, name in rows if name}
    return names


async def _traits(store: QueryExecutor, project_id: str, sql: str, of: Mapping[str, Any]) -> dict[Any, Traits]:
    return folded_traits(await store.rows(sql, {"project": project_id, **of}))


def folded_traits(rows: Iterable[Sequence[Any]]) -> dict[Any, Traits]:
    """By person or group, of the rows of `latest_traits`: by name."""
    found: dict[Any, Traits] = {}
    for who, text, names in rows:
        # Edges of 0.1.0 left a name that stood twice in the log.
        sent = msgspec.json.decode(first_of_each_name(text.encode()), type=dict[str, Raw])
        found.setdefault(who, {}).update({name: sent[name] for name in names})
    return {who: dict(sorted(traits.items())) for who, traits in found.items()}
