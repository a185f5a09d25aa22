"""The SQL of the identity tables: rows of ids and sets, and the edges around them."""

from services.contract.tables import IDENTITY_LOG, PERSON_IDS

_MINE = "project_id = {project:String}"
# Ends of the merges that some messages ask for, and of all that were ever undone (as a rule none).
_ENDS = f"""
    SELECT arrayJoin([old_id, distinct_id]) FROM {IDENTITY_LOG}
    WHERE {_MINE} AND event_id IN {{events:Array(UUID)}} AND old_id != ''
    UNION DISTINCT SELECT arrayJoin([old_id, distinct_id]) FROM {IDENTITY_LOG} WHERE {_MINE} AND kind = 'unmerge'
"""


UNMERGED_SQL = f"SELECT DISTINCT old_id, distinct_id FROM {IDENTITY_LOG} WHERE {_MINE} AND kind = 'unmerge'"
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


MEMBERS_OF_SETS_SQL = f"SELECT distinct_id, person_id, merged_away {_OF_SETS}"
LEAST_ROOTS_SQL = f"""
    SELECT person_id, min(distinct_id) {_OF_SETS} AND NOT merged_away AND distinct_id NOT IN (
        SELECT old_id FROM {IDENTITY_LOG} WHERE {_MINE} AND event_id IN {{events:Array(UUID)}} AND old_id != distinct_id
    ) GROUP BY person_id
"""


# The ids of some messages (or some ids), and all ids of their people.
_TOUCHED = f"""
    WITH
        touched AS (
            SELECT DISTINCT arrayJoin([old_id, distinct_id]) AS id FROM {IDENTITY_LOG}
            WHERE {_MINE} AND event_id IN {{events:Array(UUID)}} AND old_id != ''
            UNION DISTINCT SELECT arrayJoin({{ids:Array(String)}}) AS id
        ),
        people AS (
            SELECT person_id FROM {PERSON_IDS} FINAL
            WHERE {_MINE} AND distinct_id IN (SELECT id FROM touched)
        ),
        members AS (
            SELECT distinct_id AS id FROM {PERSON_IDS} FINAL
            WHERE {_MINE} AND person_id IN (SELECT person_id FROM people)
            UNION ALL SELECT id FROM touched
        )
"""


MEMBERS_SQL = f"{_TOUCHED} SELECT id FROM members"
# The last row about an edge, in the order of receipt, says whether it is in force.
EDGES_SQL = f"""
    {_TOUCHED}
    SELECT
        old_id, distinct_id,
        argMax(kind != 'unmerge', (received_at, toUInt128(event_id))) AS in_force,
        if(countIf(kind = 'unmerge') > 0, uniqExact(event_id), 0) AS undone_rows
    FROM {IDENTITY_LOG}
    WHERE {_MINE} AND old_id != ''
        AND (old_id IN (SELECT id FROM members) OR distinct_id IN (SELECT id FROM members))
    GROUP BY old_id, distinct_id
"""


PEOPLE_SQL = f"""
    SELECT of.distinct_id, if(named.name = '', of.person_id, named.name)
    FROM (SELECT distinct_id, person_id FROM {PERSON_IDS} FINAL WHERE {_MINE} AND distinct_id IN {{ids:Array(String)}}) AS of
    LEFT JOIN (SELECT distinct_id, name FROM {PERSON_IDS} FINAL WHERE {_MINE} AND distinct_id IN (
        SELECT person_id FROM {PERSON_IDS} FINAL WHERE {_MINE} AND distinct_id IN {{ids:Array(String)}}
    )) AS named ON named.distinct_id = of.person_id
"""
