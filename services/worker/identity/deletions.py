"""Deletions, where they stand in the log: which ids are the person's, by the merges that were logged before.

From then on the ids are each alone, and what joined them counts no more. Whoever comes back, or is joined with one of them
later, starts again from nothing.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.contract.log.marks import DeletionLine
from services.contract.tables import DELETED_IDS, DELETIONS
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_now, utc_time
from services.runtime.logs import get_logger
from services.worker.identity.person_rows import AS_ONE_BLOCK, StoredRow, store_person_rows
from services.worker.identity.region import in_chunks, recomputed_rows
from services.worker.identity.statements import DELETIONS_SQL, MEMBERS_OF_SETS_SQL, NOTED_SQL, ROWS_SQL
from services.worker.until_stored import fresh_token

log = get_logger(__name__)
# Their ids travel in the address of the request.
DELETIONS_AT_ONCE = 100
_NEVER = utc_time(0)


async def settle_deletions(store: ClickHouse, project_id: str, lines: Sequence[DeletionLine]) -> None:
    """Those of one project that follow each other in the log, DELETIONS_AT_ONCE at most. May be repeated. Raises StoreError.

    What is settled already stays as it is: when the log is read again, ids may belong to others by now.
    """
    asked = {"project": project_id, "deletions": [line.deletion_id for line in lines]}
    there = {row[0]: row for row in await store.rows(DELETIONS_SQL, asked)}
    waiting = {line.deletion_id: line for line in lines}
    waiting = {one: line for one, line in waiting.items() if one not in there or not there[one][2]}
    if not waiting:
        return
    version = await _note_people(store, project_id, [line for line in waiting.values() if line.distinct_id])
    rows = [
        {
            **msgspec.structs.asdict(line),
            "finished_at": _NEVER,
            "settled_at": utc_now(),
            "person_version": version,
            # Above that of the query service's row, which may come later.
            "version": 1 + (there[line.deletion_id][1] if line.deletion_id in there else 1),
        }
        for line in waiting.values()
    ]
    await _insert(store, DELETIONS, list(rows[0]), rows)
    log.info("deletions_settled", deletions=len(rows))


async def _note_people(store: ClickHouse, project_id: str, lines: Sequence[DeletionLine]) -> int:
    """Note all ids of the people, and part their sets. The version of the new rows of person_ids; 0 where there are none."""
    if not lines:
        return 0
    ids_of, touched = await _ids_of_people(store, project_id, lines)
    rows = [
        {
            "project_id": project_id,
            "distinct_id": distinct_id,
            "deletion_id": line.deletion_id,
            "before": line.requested_at,
            "settled": True,
        }
        for line in lines
        for distinct_id in sorted(ids_of[line.deletion_id])
    ]
    await _insert(store, DELETED_IDS, list(rows[0]), rows)
    if not touched:
        return 0
    parted = await recomputed_rows(store, project_id, touched)
    await store_person_rows(store, parted)
    return max(row.version for row in parted)


async def _ids_of_people(
    store: ClickHouse, project_id: str, lines: Sequence[DeletionLine]
) -> tuple[dict[str, set[str]], set[str]]:
    """By deletion the person's ids; and those of all that were ever merged.

    Also those that were noted before a crash that came before the end: their sets may be parted by now.
    """
    ids_of = {line.deletion_id: {line.distinct_id} for line in lines}
    for deletion_id, distinct_id in await store.rows(NOTED_SQL, {"project": project_id, "deletions": list(ids_of)}):
        ids_of[deletion_id].add(distinct_id)
    rows: dict[str, StoredRow] = {}
    for ids in in_chunks(set().union(*ids_of.values())):
        found = await store.rows(ROWS_SQL, {"project": project_id, "ids": ids})
        rows |= {row[0]: StoredRow(*row[1:]) for row in found}
    sets = sorted({row.person_hash for row in rows.values()})
    members: dict[str, set[str]] = {}
    if sets:
        of_sets: Sequence[Any] = await store.rows(MEMBERS_OF_SETS_SQL, {"project": project_id, "sets": sets})
        for distinct_id, set_id, _, _ in of_sets:
            members.setdefault(set_id, set()).add(distinct_id)
    for line in lines:
        row = rows.get(line.distinct_id)
        # The first deletion of a set parts it: for the next one the id is alone.
        if row is not None:
            ids_of[line.deletion_id] |= members.pop(row.person_id, set())
    return ids_of, set(rows)


async def _insert(store: ClickHouse, table: str, columns: list[str], rows: Sequence[dict[str, Any]]) -> None:
    await store.insert_lines(table, columns, msgspec.json.Encoder().encode_lines(rows), fresh_token(), AS_ONE_BLOCK)
