"""The SQL of the identity tables: rows of ids and sets, and the merges and links around them."""

from services.contract.deletions import uncovered_sql
from services.contract.tables import DELETED_IDS, DELETIONS, IDENTITY_LOG, PERSON_IDS, TAKEN_IDS

_MINE = "project_id = {project:String}"
# A merge or a link that the deletion of one of its sides covers is no more, also while ClickHouse still has the row. Only
# deletions that this project's log has come to: what was logged before one still counts, and may say whose an id is.
_DELETED = (
    "(SELECT (groupArray(distinct_hash), groupArray(before)) FROM (SELECT distinct_hash, max(before) AS before "
    f"FROM {DELETED_IDS} WHERE {_MINE} AND settled GROUP BY distinct_hash))"
)
_NOT_DELETED = (
    f"(empty({_DELETED}.1) OR "
    + " AND ".join(
        uncovered_sql(f"transform({side}, {_DELETED}.1, {_DELETED}.2, toDateTime64(0, 6, 'UTC'))")
        for side in ("old_hash", "distinct_hash")
    )
    + ")"
)
_RECEIVED = "(received_at, toUInt128(event_id))"
_UNMERGES = f"FROM {IDENTITY_LOG} WHERE {_MINE} AND kind = 'unmerge'"

# {ids:Array(UUID)} -> what the log has of them; of those that a deletion took away, that their keys are taken.
LOGGED_SQL = (
    "SELECT event_id, project_id, kind, old_id, distinct_id, toUnixTimestamp64Micro(received_at) AS received_us "
    f"FROM {IDENTITY_LOG} "
    "WHERE project_id IN {projects:Array(String)} AND event_id IN {ids:Array(UUID)} "
    f"UNION ALL SELECT event_id, '', '', '', '', 0 FROM {TAKEN_IDS} WHERE event_id IN {{ids:Array(UUID)}}"
)
# Deletions of a project that a worker has settled, and the versions of the rows of the others.
DELETIONS_SQL = (
    f"SELECT toString(deletion_id), version, toUnixTimestamp64Micro(settled_at) FROM {DELETIONS} FINAL "
    f"WHERE {_MINE} AND deletion_id IN {{deletions:Array(UUID)}}"
)
NOTED_SQL = (
    f"SELECT toString(deletion_id), distinct_id FROM {DELETED_IDS} "
    f"WHERE {_MINE} AND deletion_id IN {{deletions:Array(UUID)}} AND settled"
)
# All pairs that were ever unmerged; and those of the {events} that a deletion of one of their sides covers.
UNMERGED_OR_DELETED_SQL = f"""
    SELECT DISTINCT old_id, distinct_id, '' AS deleted {_UNMERGES}
    UNION ALL SELECT old_id, distinct_id, toString(event_id) FROM {IDENTITY_LOG}
    WHERE {_MINE} AND event_id IN {{events:Array(UUID)}} AND old_id != '' AND NOT {_NOT_DELETED}
"""
# Ends of the merges and links of some messages, and of all that was ever unmerged (as a rule nothing).
_ENDS = f"""
    SELECT arrayJoin([old_id, distinct_id]) FROM {IDENTITY_LOG}
    WHERE {_MINE} AND event_id IN {{events:Array(UUID)}} AND old_id != ''
    UNION DISTINCT SELECT arrayJoin([old_id, distinct_id]) {_UNMERGES}
"""
_ROWS = (
    f"SELECT distinct_id, person_id, person_hash, merged_away, version, name, least, roots FROM {PERSON_IDS} FINAL "
    f"WHERE {_MINE} AND distinct_id IN "
)
ROWS_OF_ENDS_SQL = f"{_ROWS} ({_ENDS})"
ROWS_SQL = f"{_ROWS} {{ids:Array(String)}}"
# First whoever was ever in the sets, by a column of numbers; then their latest rows.
_OF_SETS = f"""
    FROM {PERSON_IDS} FINAL WHERE {_MINE} AND person_hash IN {{sets:Array(UInt64)}} AND distinct_id IN (
        SELECT distinct_id FROM {PERSON_IDS} WHERE {_MINE} AND person_hash IN {{sets:Array(UInt64)}}
    )
"""
MEMBERS_OF_SETS_SQL = f"SELECT distinct_id, person_id, merged_away, version {_OF_SETS}"
# {events}: the merges and the counting links whose old ids are absorbed by now.
LEAST_ROOTS_SQL = f"""
    SELECT person_id, min(distinct_id) {_OF_SETS} AND NOT merged_away AND distinct_id NOT IN (
        SELECT old_id FROM {IDENTITY_LOG} WHERE {_MINE} AND event_id IN {{events:Array(UUID)}} AND old_id != distinct_id
    ) GROUP BY person_id
"""

# Links that were not undone by an unmerge of the same two ids, received later.
_MOMENT = "(toUnixTimestamp64Micro(timestamp), toUnixTimestamp64Micro(received_at), toUInt128(event_id))"


def _links(where: str) -> str:
    return f"""(
        SELECT old_id, distinct_id, old_hash, distinct_hash, event_id, {_MOMENT} AS moment FROM (
            SELECT old_id, distinct_id, old_hash, distinct_hash, event_id, timestamp, received_at FROM {IDENTITY_LOG}
            WHERE {_MINE} AND kind = 'link' AND old_id != '' AND {_NOT_DELETED} AND {where}
        ) AS link ANY LEFT JOIN (
            SELECT old_hash, distinct_hash, max({_RECEIVED}) AS undone {_UNMERGES} GROUP BY old_hash, distinct_hash
        ) AS unmerge USING (old_hash, distinct_hash)
        WHERE {_RECEIVED} > undone
    )"""


_BLOCK = "event_id IN {events:Array(UUID)}"
_SIDES = f"FROM {IDENTITY_LOG} WHERE {_MINE} AND kind = 'link' AND {_BLOCK}"
# Of the links of each prior id that some messages speak of, on either side: the first; the first that is not of these
# messages (else an empty user); and the users of these messages.
LINKS_OF_PRIORS_SQL = f"""
    SELECT
        old_id, argMin((moment, distinct_id), moment) AS first,
        argMinIf((moment, distinct_id), moment, NOT ({_BLOCK})) AS before,
        groupUniqArrayIf(distinct_id, {_BLOCK}) AS users
    FROM {_links(f"old_hash IN (SELECT arrayJoin([old_hash, distinct_hash]) {_SIDES})")}
    GROUP BY old_id
"""
# When a prior id of some messages was first said to be a user.
LINKS_OF_USERS_SQL = f"""
    SELECT distinct_id, min(moment) FROM {_links(f"distinct_hash IN (SELECT old_hash {_SIDES})")} GROUP BY distinct_id
"""

# Computing sets as a whole: {sets} are hashes of set ids, {ids} of further ids; whoever was ever in the sets is looked at.
NOW_SQL = "SELECT toUnixTimestamp64Milli(now64(3))"
_MEMBERS = (
    f"(SELECT distinct_hash FROM {PERSON_IDS} WHERE {_MINE} AND person_hash IN {{sets:Array(UInt64)}} "
    "UNION ALL SELECT sipHash64({project:String}, arrayJoin({ids:Array(String)})))"
)
FIRST_LINKS_SQL = f"""
    SELECT argMin((moment, old_id, distinct_id), moment) FROM {_links(f"old_hash IN {_MEMBERS}")} GROUP BY old_hash
"""
# The last row about two ids, in the order of receipt, says whether they are merged.
MERGES_SQL = f"""
    SELECT old_id, distinct_id FROM {IDENTITY_LOG}
    WHERE {_MINE} AND old_id != '' AND kind != 'link' AND {_NOT_DELETED}
        AND (old_hash IN {_MEMBERS} OR distinct_hash IN {_MEMBERS})
    GROUP BY old_id, distinct_id HAVING argMax(kind != 'unmerge', {_RECEIVED})
"""

PEOPLE_SQL = f"""
    SELECT of.distinct_id, if(named.name = '', of.person_id, named.name)
    FROM (SELECT distinct_id, person_id FROM {PERSON_IDS} FINAL WHERE {_MINE} AND distinct_id IN {{ids:Array(String)}}) AS of
    LEFT JOIN (SELECT distinct_id, name FROM {PERSON_IDS} FINAL WHERE {_MINE} AND distinct_id IN (
        SELECT person_id FROM {PERSON_IDS} FINAL WHERE {_MINE} AND distinct_id IN {{ids:Array(String)}}
    )) AS named ON named.distinct_id = of.person_id
"""
