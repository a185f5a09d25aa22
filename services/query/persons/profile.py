"""One person: all ids, what traits and groups are now, links and merges, when seen and how often."""

from msgspec import UNSET

from services.contract.api.persons import MAX_PERSON_IDS, Person
from services.contract.tables import IDENTITY_LOG
from services.query.execution.executor import QueryExecutor
from services.query.persons.links import find_links
from services.query.persons.listed import folded_traits
from services.query.sql.events import EVENTS_WITH_DUPLICATES, KEPT, NOT_DELETED
from services.query.sql.moments import MOMENT
from services.query.sql.persons import IDS_OF_PERSON, PERSON_OF
from services.query.sql.traits import IDENTIFIES, latest_traits
from services.runtime.clock import utc_time

_OF_PERSON = f"WHERE e.project_id = {{project:String}} AND e.distinct_id IN ({IDS_OF_PERSON}) AND {NOT_DELETED}"

EVENTS_SQL = (
    "SELECT uniqExact(e.event_id), toUnixTimestamp64Micro(min(e.timestamp)), toUnixTimestamp64Micro(max(e.timestamp)) "
    f"FROM {EVENTS_WITH_DUPLICATES} {_OF_PERSON}{KEPT}"
)
CALLS_SQL = f"SELECT count() FROM {IDENTITY_LOG} AS e {_OF_PERSON}"
GROUPS_SQL = (
    f"SELECT e.group_type, argMax(e.group_key, {MOMENT}) FROM {IDENTITY_LOG} AS e {_OF_PERSON} "
    "AND e.kind = 'group' GROUP BY e.group_type ORDER BY e.group_type"
)
TRAITS_SQL = latest_traits("0", f"{_OF_PERSON} AND e.kind IN {IDENTIFIES}")


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
        traits=folded_traits(await store.rows(TRAITS_SQL, parameters)).get(0, {}),
        groups={row[0]: row[1] for row in await store.rows(GROUPS_SQL, parameters)},
        links=links,
        merges=merges,
        first_seen=utc_time(first_us) if events else None,
        last_seen=utc_time(last_us) if events else None,
        events=events,
        warnings=warnings or UNSET,
    )
