"""One person: all ids, what traits and groups are now, links and merges, when seen and how often."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from services.contract.api.persons import MAX_PERSON_IDS, Person
from services.contract.tables import IDENTITY_LOG
from services.query.execution.executor import QueryExecutor
from services.query.persons.links import find_links
from services.query.sql.events import EVENTS_WITH_DUPLICATES, NOT_DELETED
from services.query.sql.moments import MOMENT
from services.query.sql.persons import IDS_OF_PERSON, PERSON_OF
from services.query.sql.traits import IDENTIFIES
from services.runtime.clock import utc_time

_OF_PERSON = f"WHERE e.project_id = {{project:String}} AND e.distinct_id IN ({IDS_OF_PERSON}) AND {NOT_DELETED}"

EVENTS_SQL = (
    "SELECT uniqExact(e.event_id), toUnixTimestamp64Micro(min(e.timestamp)), toUnixTimestamp64Micro(max(e.timestamp)) "
    f"FROM {EVENTS_WITH_DUPLICATES} {_OF_PERSON}"
)
CALLS_SQL = f"SELECT count() FROM {IDENTITY_LOG} AS e {_OF_PERSON}"
GROUPS_SQL = (
    f"SELECT e.group_type, argMax(e.group_key, {MOMENT}) FROM {IDENTITY_LOG} AS e {_OF_PERSON} "
    "AND e.kind = 'group' GROUP BY e.group_type ORDER BY e.group_type"
)
# Rows (traits as they came, which of them the person has): values then come back unharmed. A text is read once, however
# many traits it has.
_SAID = (
    f"SELECT e.event_id AS event_id, {MOMENT} AS moment, arrayJoin(arrayConcat("
    "arrayMap(x -> (x.1, x.2 = 'null', false), JSONExtractKeysAndValuesRaw(e.traits)), "
    "arrayMap(x -> (x.1, x.2 = 'null', true), JSONExtractKeysAndValuesRaw(e.set_once)))) AS said, "
    "said.1 AS name, said.2 AS is_null, said.3 AS once "
    f"FROM {IDENTITY_LOG} AS e {_OF_PERSON} AND e.kind IN {IDENTIFIES}"
)
_SOURCES = (
    "SELECT name, countIf(NOT once) = 0 OR argMaxIf(is_null, moment, NOT once) AS is_once, "
    "maxIf(moment, NOT once) AS last_at, argMaxIf(event_id, moment, NOT once) AS last, "
    "arraySort(groupArrayIf((moment, event_id), once AND NOT is_null)) AS onces, "
    f"if(is_once, arrayFirst(x -> x.1 >= last_at, onces).2, last) AS source FROM ({_SAID}) GROUP BY name"
)
TRAITS_SQL = (
    "SELECT any(if(is_once, log.set_once, log.traits)), any(names) FROM (SELECT source, is_once, groupArray(name) AS names "
    f"FROM ({_SOURCES}) GROUP BY source, is_once) AS found INNER JOIN (SELECT e.event_id AS event_id, e.traits AS traits, "
    f"e.set_once AS set_once FROM {IDENTITY_LOG} AS e {_OF_PERSON} AND e.kind IN {IDENTIFIES}) AS log "
    "ON log.event_id = found.source GROUP BY source, is_once"
)


async def find_person(store: QueryExecutor, project_id: str, distinct_id: str) -> Person | None:
    """None when there is neither an event nor a call of any of the person's ids."""
    found = await store.rows(PERSON_OF, {"project": project_id, "id": distinct_id})
    key, person_id = found[0] if found else (distinct_id, distinct_id)
    parameters = {"project": project_id, "person": key}
    ((events, first_us, last_us),) = await store.rows(EVENTS_SQL, parameters)
    ((calls,),) = await store.rows(CALLS_SQL, parameters)
    if not events and not calls:
        return None
    ids = await store.rows(
        f"SELECT distinct_id FROM ({IDS_OF_PERSON}) ORDER BY distinct_id LIMIT {MAX_PERSON_IDS + 1}", parameters
    )
    links, merges, warnings = await find_links(store, parameters)
    if len(ids) > MAX_PERSON_IDS:
        warnings.append(f"the person has more than {MAX_PERSON_IDS} ids; the first are listed")
    return Person(
        person_id=person_id,
        distinct_ids=[row[0] for row in ids[:MAX_PERSON_IDS]],
        traits=_traits(await store.rows(TRAITS_SQL, parameters)),
        groups={row[0]: row[1] for row in await store.rows(GROUPS_SQL, parameters)},
        links=links,
        merges=merges,
        first_seen=utc_time(first_us) if events else None,
        last_seen=utc_time(last_us) if events else None,
        events=events,
        warnings=warnings or UNSET,
    )


def _traits(rows: Sequence[Sequence[Any]]) -> dict[str, Raw]:
    latest: dict[str, Raw] = {}
    for text, keys in rows:
        sent = msgspec.json.decode(text, type=dict[str, Raw])
        latest |= {key: sent[key] for key in keys}
    return dict(sorted(latest.items()))
