"""Undoes a merge or link that should not have been: the operator's word, kept as a row of the identity log."""

from datetime import datetime

from msgspec import Struct

from services.contract.log.envelope import IdentityLine
from services.contract.log.event_ids import fresh_ids
from services.contract.tables import IDENTITY_LOG
from services.runtime.clickhouse import ClickHouse
from services.runtime.operator_errors import OperatorError
from services.worker.identity.writer import IdentityStore


class NoSuchMergeError(OperatorError):
    """There is no merge or link in force from the one id into the other; the message says which there are."""


class Unmerged(Struct, frozen=True):
    """Who the two ids are now. The same person, where other merges still hold them together."""

    old_person: str
    new_person: str


async def unmerge(store: ClickHouse, project_id: str, old_id: str, new_id: str, now: datetime) -> Unmerged:
    """Undo every merge and link of `old_id` into `new_id` received before now. Raises NoSuchMergeError, StoreError.

    Safe beside running workers: the row is in the log before people are computed from it, and all rows of the sets are
    written, with a version that is higher than that of whoever does not know of it.
    """
    merges = await _merges_of(store, project_id, old_id, new_id)
    if (old_id, new_id) not in merges:
        listed = "; ".join(f"{old} into {new}" for old, new in merges[:10])
        raise NoSuchMergeError(
            f"no merge of {old_id} into {new_id} is in force. "
            + (f"In force with one of them: {listed}" if merges else "Neither was ever merged, or all was undone")
        )
    line = IdentityLine(
        project_id=project_id,
        event_id=fresh_ids(1)[0].hex(),
        kind="unmerge",
        distinct_id=new_id,
        timestamp=now,
        received_at=now,
        old_id=old_id,
    )
    identity = IdentityStore(store)
    await identity.keep_lines([line])
    people = await identity.people(project_id, [old_id, new_id])
    return Unmerged(people.get(old_id, old_id), people.get(new_id, new_id))


async def _merges_of(store: ClickHouse, project_id: str, old_id: str, new_id: str) -> list[tuple[str, str]]:
    """Merges and links, counting or not, that one of the ids is a side of, and that are not undone."""
    ids = [old_id, new_id]
    rows = await store.rows(
        f"SELECT old_id, distinct_id FROM {IDENTITY_LOG} "
        "WHERE project_id = {project:String} AND old_id != '' "
        "AND (old_id IN {ids:Array(String)} OR distinct_id IN {ids:Array(String)}) "
        "GROUP BY old_id, distinct_id "
        "HAVING argMax(kind != 'unmerge', (received_at, toUInt128(event_id))) ORDER BY old_id, distinct_id",
        {"project": project_id, "ids": ids},
    )
    return [(row[0], row[1]) for row in rows]
