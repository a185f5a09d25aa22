"""The rows that queries read: one project's events of a window. The only place that says how duplicates are kept out.

A row may be stored twice until ClickHouse merges its parts (the sorting key ends with the event id). Queries whose
answer a duplicate would change read EVENTS_ONCE; those that take duplicates away themselves read EVENTS_WITH_DUPLICATES,
which costs a third. Whoever only counts events may count distinct ROW_IDs of these: where many parts are not merged yet,
that takes half the time.
"""

import re

from services.contract.deletions import uncovered_sql
from services.contract.tables import DELETED_IDS, EVENTS, EXPIRED
from services.query.request.time_window import TimeWindow
from services.runtime.clickhouse import Parameters

EVENTS_ONCE = f"{EVENTS} AS e FINAL"
EVENTS_WITH_DUPLICATES = f"{EVENTS} AS e"
# Of an event `e`, the same for rows that FINAL takes for one. An id that comes again long after, with another time, is
# another event.
ROW_ID = "bitXor(reinterpretAsUInt128(e.event_id), toUInt128(toUnixTimestamp64Micro(e.timestamp)))"

SETTINGS = {
    # Safe because the partition is a function of a column of the sorting key: duplicates never lie in two partitions.
    "do_not_merge_across_partitions_select_final": 1,
    # Safe because duplicates are equal in every column: a condition holds for all of them or for none.
    "optimize_move_to_prewhere_if_final": 1,
    # Events are looked up in the merged ids, never the other way round, which copies all columns of the events.
    "query_plan_join_swap_table": "false",
    # Statements that take rows first name no columns; ClickHouse reads those that are needed.
    "asterisk_include_materialized_columns": 1,
}

# What a deletion of an id covers, also where it comes in later. Holds for the identity log too. Written once in a
# condition, with a name: each time that it stands there costs a millisecond before a row is read.
_DELETED_IDS = (
    "(SELECT (groupArray(distinct_hash), groupArray(before)) FROM (SELECT distinct_hash, max(before) AS before "
    f"FROM {DELETED_IDS} WHERE project_id = {{project:String}} GROUP BY distinct_hash)) AS ids_deleted"
)


def not_deleted(hash_column: str) -> str:
    """A condition on a row `e`, about the id that the column is the hash of. Where nothing was deleted the first part is a
    constant, and no row is looked at."""
    # Of an id that was never deleted, earlier than any receipt, also than none.
    before = f"transform({hash_column}, ids_deleted.1, ids_deleted.2, toDateTime64('1900-01-01', 6, 'UTC'))"
    return f"(empty(({_DELETED_IDS}).1) OR {uncovered_sql(before, 'e.')})"


NOT_DELETED = not_deleted("e.distinct_hash")
# Events alone expire. Behind a condition: a hole, which is filled when a statement is run. ClickHouse refuses a statement
# that still has it, so that none can show what has expired.
KEPT = " AND {kept}"
# Without holes, of all projects at once.
_EXPIRED = (
    "(SELECT (groupArray(project_id), groupArray(since)) FROM "
    f"(SELECT project_id, max(kept_since) AS since FROM {EXPIRED} GROUP BY project_id))"
)
NONE_EXPIRED = (
    f"(empty({_EXPIRED}.1) OR e.timestamp >= transform(toString(e.project_id), {_EXPIRED}.1, {_EXPIRED}.2, "
    "toDateTime64(0, 6, 'UTC')))"
)
# Of a project's events, those that answers may show.
SHOWN = f"{NOT_DELETED}{KEPT}"


def without_deletions(sql: str) -> str:
    """A statement that says the same, for a project of which nothing was ever deleted. The condition costs 4 ms before a row
    is read, wherever it stands."""
    return sql.replace(NOT_DELETED, "true")


def with_border(sql: str, parameters: Parameters, since_us: int) -> tuple[str, Parameters]:
    """The statement without holes, of a project whose events are kept since then; 0: all of them."""
    if not since_us:
        return sql.replace(KEPT, ""), parameters
    kept = " AND e.timestamp >= fromUnixTimestamp64Micro({kept_since:Int64}, 'UTC')"
    return sql.replace(KEPT, kept), {**parameters, "kept_since": since_us}


# Behind each table that is called `e`: the deletion of the row's id, where there was one. Constants in the text of a
# statement take ClickHouse longer, the more of them there are. Rows of a statement inside that has the condition already are
# called `e` without AS: there it is not asked again.
_JOIN_DELETED = (
    f"ANY LEFT JOIN (SELECT distinct_hash, max(before) AS before FROM {DELETED_IDS} WHERE project_id = {{project:String}} "
    "GROUP BY distinct_hash) AS deleted ON deleted.distinct_hash = e.distinct_hash"
)
_IS_E = re.compile(r" AS e(?: FINAL)?(?= )")


def with_joined_deletions(sql: str) -> str:
    """A statement that says the same, for a project that has many deleted ids."""
    joined = _IS_E.sub(rf"\g<0> {_JOIN_DELETED}", sql)
    # Of an id that has no row, the hash is 0.
    return joined.replace(NOT_DELETED, f"(deleted.distinct_hash = 0 OR {uncovered_sql('deleted.before', 'e.')})")


def in_window(since: str, until: str) -> str:
    """A condition on `events AS e`; both are SQL, in microseconds. {project:String} must be given."""
    return (
        "e.project_id = {project:String}"
        f" AND e.timestamp >= fromUnixTimestamp64Micro({since}, 'UTC')"
        f" AND e.timestamp < fromUnixTimestamp64Micro({until}, 'UTC')"
        f" AND {SHOWN}"
    )


IN_WINDOW = in_window("{since:Int64}", "{until:Int64}")


def window_parameters(project_id: str, window: TimeWindow) -> dict[str, str | int]:
    return {"project": project_id, "since": window.since_us, "until": window.until_us}
