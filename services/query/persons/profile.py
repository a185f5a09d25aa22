"""One person: all ids, the latest value of each trait, the latest group of each type, when seen and how often."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from services.contract.api.persons import MAX_PERSON_IDS, Person
from services.contract.tables import IDENTITY_LOG, PERSON_IDS
from services.query.execution.executor import QueryExecutor
from services.query.request.time_window import utc_time
from services.query.sql.events import EVENTS_WITH_DUPLICATES, NOT_DELETED
from services.query.sql.persons import PERSON_OF

# {person:String} is the key of the set. It is in the table when it was ever merged; then the table says whose it is.
IDS = (
    f"SELECT distinct_id FROM {PERSON_IDS} FINAL "
    "WHERE project_id = {project:String} AND person_id = {person:String} "
    "UNION DISTINCT SELECT {person:String} AS distinct_id WHERE {person:String} NOT IN (SELECT distinct_id "
    f"FROM {PERSON_IDS} WHERE project_id = {{project:String}} AND distinct_id = {{person:String}})"
)
_OF_PERSON = f"WHERE e.project_id = {{project:String}} AND e.distinct_id IN ({IDS}) AND {NOT_DELETED}"
_LATEST = "(e.timestamp, toUInt128(e.event_id))"

EVENTS_SQL = (
    "SELECT uniqExact(e.event_id), toUnixTimestamp64Micro(min(e.timestamp)), toUnixTimestamp64Micro(max(e.timestamp)) "
    f"FROM {EVENTS_WITH_DUPLICATES} {_OF_PERSON}"
)
CALLS_SQL = f"SELECT count() FROM {IDENTITY_LOG} AS e {_OF_PERSON}"
GROUPS_SQL = (
    f"SELECT e.group_type, argMax(e.group_key, {_LATEST}) FROM {IDENTITY_LOG} AS e {_OF_PERSON} "
    "AND e.kind = 'group' GROUP BY e.group_type ORDER BY e.group_type"
)
# Rows (traits as they came, which of them are the latest): values then come back unharmed.
TRAITS_SQL = (
    f"SELECT traits, groupArray(key) FROM (SELECT key, argMax(e.traits, {_LATEST}) AS traits FROM {IDENTITY_LOG} AS e "
    f"ARRAY JOIN JSONExtractKeys(e.traits) AS key {_OF_PERSON} AND e.kind = 'identify' GROUP BY key) GROUP BY traits"
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
        f"SELECT distinct_id FROM ({IDS}) ORDER BY distinct_id LIMIT {MAX_PERSON_IDS + 1}", parameters
    )
    more = f"the person has more than {MAX_PERSON_IDS} ids; the first are listed"
    return Person(
        person_id=person_id,
        distinct_ids=[row[0] for row in ids[:MAX_PERSON_IDS]],
        traits=_traits(await store.rows(TRAITS_SQL, parameters)),
        groups={row[0]: row[1] for row in await store.rows(GROUPS_SQL, parameters)},
        first_seen=utc_time(first_us) if events else None,
        last_seen=utc_time(last_us) if events else None,
        events=events,
        warnings=[more] if len(ids) > MAX_PERSON_IDS else UNSET,
    )


def _traits(rows: Sequence[Sequence[Any]]) -> dict[str, Raw]:
    latest: dict[str, Raw] = {}
    for text, keys in rows:
        sent = msgspec.json.decode(text, type=dict[str, Raw])
        latest |= {key: sent[key] for key in keys}
    return dict(sorted(latest.items()))
