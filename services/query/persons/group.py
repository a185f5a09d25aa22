"""One group: its traits, who is in it, since when it is known."""

from services.contract.api.groups import MAX_GROUP_MEMBERS, GroupProfile
from services.contract.tables import IDENTITY_LOG
from services.query.execution.executor import QueryExecutor
from services.query.persons.listed import listed_groups
from services.query.sql.events import NOT_DELETED
from services.query.sql.persons import PERSON_ID
from services.query.sql.traits import group_of_people
from services.runtime.clock import utc_time

SEEN_SQL = (
    "SELECT count(), toUnixTimestamp64Micro(min(e.timestamp)), toUnixTimestamp64Micro(max(e.timestamp)) "
    f"FROM {IDENTITY_LOG} AS e WHERE e.project_id = {{project:String}} AND {NOT_DELETED} AND e.kind = 'group' "
    "AND e.group_type = {type:String} AND e.group_key = {key:String}"
)
MEMBERS_SQL = (
    f"SELECT count(), groupArraySorted({MAX_GROUP_MEMBERS:d})(who) FROM "
    f"({group_of_people('{type:String}', PERSON_ID)}) WHERE group_key = {{key:String}}"
)


async def find_group(store: QueryExecutor, project_id: str, group_type: str, group_key: str) -> GroupProfile | None:
    """None where no call names it."""
    parameters = {"project": project_id, "type": group_type, "key": group_key}
    ((calls, first_us, last_us),) = await store.rows(SEEN_SQL, parameters)
    if not calls:
        return None
    ((members, people),) = await store.rows(MEMBERS_SQL, parameters)
    (group,) = await listed_groups(store, project_id, group_type, [group_key])
    return GroupProfile(
        group_type=group_type,
        group_key=group_key,
        traits=group.traits,
        members=members,
        people=list(people),
        first_seen=utc_time(first_us),
        last_seen=utc_time(last_us),
    )
