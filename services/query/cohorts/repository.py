"""Saved cohorts: kept, found by their names, and put into the queries that name them.

A list is stored under an id of its own first, then the name is led to it: a query has the old list or the new one, whole.
Lists that no name leads to go an hour later, when no query can be reading them.
"""

import asyncio
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from services.contract.api.cohorts import MAX_RULES_BYTES, MAX_SAVED_COHORTS, CohortInfo
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import Cohort
from services.contract.tables import COHORT_IDS, COHORTS
from services.query.cohorts.request import NewCohort
from services.query.execution.turns import StoreTurns
from services.query.request.cohorts import ListedCohort, check_saved
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.clock import utc_time
from services.runtime.cluster import rows_of
from services.runtime.logs import get_logger

log = get_logger(__name__)

Q = TypeVar("Q", bound=Struct)

SWEEP_EVERY_S = 3600.0
_IDS_AT_ONCE = 50_000
_MUTATION = {"mutations_sync": 0, "allow_nondeterministic_mutations": 1}
_READ = (
    f"SELECT name, rule, list_id, ids, toUnixTimestamp64Micro(updated_at), version FROM {COHORTS} FINAL "
    "WHERE project_id = {project:String} AND NOT deleted"
)
_LAST_VERSION = f"SELECT max(version) FROM {COHORTS} WHERE project_id = {{project:String}} AND name = {{name:String}}"
# {cohorts}: of all replicas. One that is behind may not know the name of a list, which would be gone everywhere.
_ORPHANS = (
    f"SELECT DISTINCT list_id FROM {COHORT_IDS} WHERE added_at < now64(6) - toIntervalHour(1) "
    "AND list_id NOT IN (SELECT list_id FROM {cohorts} FINAL WHERE NOT deleted) LIMIT 1000"
)


class _Row(Struct, kw_only=True):
    """A row of the table; deleting adds a row of a higher version."""

    project_id: str
    name: str
    rule: str = ""
    list_id: str = ""
    ids: int = 0
    updated_at: datetime
    deleted: bool = False
    version: int = 0


class SavedCohorts:
    """All methods see one project's cohorts only, in its turn. They raise StoreError, and ApiError 429 and 503."""

    def __init__(self, store: ClickHouse, turns: StoreTurns) -> None:
        self._store = store
        self._turns = turns
        self._orphans: set[str] = set()

    async def save(self, project_id: str, name: str, new: NewCohort, now: datetime) -> CohortInfo:
        """In the place of the one that has the name. Raises ApiError where the project has too many, or too long ones."""
        others = [one for one in await self.all(project_id) if one.name != name]
        if len(others) >= MAX_SAVED_COHORTS:
            raise ApiError(
                ErrorCode.INVALID_FIELD,
                f"The project has {MAX_SAVED_COHORTS} saved cohorts; more are not taken. Delete one first.",
                field="name",
            )
        # More could not be read at once, and no query that names one would be answered.
        if new.rule is not None and _rules_bytes(others) + len(bytes(new.rule)) > MAX_RULES_BYTES:
            raise ApiError(
                ErrorCode.INVALID_FIELD,
                f"`cohort`: with it, the project's saved rules would have more than {MAX_RULES_BYTES} bytes. Delete one "
                "first, or save its ids as a list.",
                field="cohort",
            )
        row = _Row(project_id=project_id, name=name, updated_at=now)
        if new.rule is not None:
            row.rule = bytes(new.rule).decode()
        else:
            row.list_id, row.ids = str(uuid.uuid4()), len(new.ids)
            await self._insert_ids(row, new.ids)
        await self._insert(row)
        return _info([row.name, row.rule, row.list_id, row.ids, None, 0], now)

    async def get(self, project_id: str, name: str) -> CohortInfo | None:
        found = [row for row in await self._rows(project_id) if row[0] == name]
        return _info(found[0]) if found else None

    async def all(self, project_id: str) -> list[CohortInfo]:
        return [_info(row) for row in await self._rows(project_id)]

    async def delete(self, project_id: str, name: str, now: datetime) -> None:
        """Also fine when there is none."""
        await self._insert(_Row(project_id=project_id, name=name, updated_at=now, deleted=True))

    async def put_in(self, project_id: str, query: Q) -> Q:
        """The query with what stands under the names that its cohort speaks of. Raises ApiError for a name that is none."""
        cohort = getattr(query, "cohort", None)
        if not isinstance(cohort, Cohort) or not any(True for _ in _names(cohort)):
            return query
        rows = {row[0]: row for row in await self._rows(project_id)}
        return replace(query, cohort=_resolved(cohort, rows, "cohort"))

    async def _rows(self, project_id: str) -> Sequence[Sequence[Any]]:
        return await self._turns.run(
            project_id, lambda store: store.rows(f"{_READ} ORDER BY name", {"project": project_id})
        )

    async def _insert(self, row: _Row) -> None:
        """In the place of what the name has, whatever the clock was of the service that saved or deleted that."""
        of_name = {"project": row.project_id, "name": row.name}
        ((last,),) = await self._turns.run(row.project_id, lambda store: store.rows(_LAST_VERSION, of_name))
        row.version = max(time.time_ns(), last + 1)
        async with self._turns.turn(row.project_id):
            await self._store.insert_lines(COHORTS, _Row.__struct_fields__, msgspec.json.encode(row) + b"\n")

    async def _insert_ids(self, row: _Row, ids: Collection[str]) -> None:
        listed = list(ids)
        for at in range(0, len(listed), _IDS_AT_ONCE):
            lines = await asyncio.to_thread(_lines, row, listed[at : at + _IDS_AT_ONCE])
            async with self._turns.turn(row.project_id):
                await self._store.insert_lines(COHORT_IDS, ("project_id", "list_id", "distinct_id"), lines)

    async def sweep(self) -> int:
        """Deletes the lists that no name leads to, and did not lead to an hour ago. How many."""
        of_all = rows_of(self._store.cluster, self._store.database, COHORTS)
        orphans = {list_id for (list_id,) in await self._store.rows(_ORPHANS.format(cohorts=of_all))}
        gone = sorted(orphans & self._orphans)
        self._orphans = orphans - set(gone)
        if gone:
            await self._store.command(
                f"ALTER TABLE {COHORT_IDS} DELETE WHERE list_id IN {{lists:Array(String)}}", {"lists": gone}, _MUTATION
            )
        return len(gone)

    async def sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                log.info("cohort_lists_swept", lists=await self.sweep())
            except StoreError as error:
                log.warning("cohort_lists_not_swept", reason=str(error)[:500])


def _lines(row: _Row, ids: Sequence[str]) -> bytes:
    fixed = {"project_id": row.project_id, "list_id": row.list_id}
    return b"".join(msgspec.json.encode({**fixed, "distinct_id": one}) + b"\n" for one in ids)


def _info(row: Sequence[Any], now: datetime | None = None) -> CohortInfo:
    name, rule, list_id, ids, updated_us, _ = row
    return CohortInfo(
        name=name,
        kind="list" if list_id else "rule",
        cohort=UNSET if list_id else Raw(rule.encode()),
        ids=ids if list_id else UNSET,
        updated_at=now or utc_time(updated_us),
    )


def _rules_bytes(cohorts: Sequence[CohortInfo]) -> int:
    return sum(len(bytes(one.cohort)) for one in cohorts if isinstance(one.cohort, Raw))


def _names(cohort: Cohort) -> Iterator[str]:
    if cohort.saved is not None:
        yield cohort.saved
    for part in (*(cohort.all_of or ()), *(cohort.any_of or ()), *([cohort.none_of] if cohort.none_of else ())):
        yield from _names(part)


def _resolved(cohort: Cohort, rows: dict[str, Sequence[Any]], place: str) -> Cohort:
    changes: dict[str, Any] = {}
    for name, kind in (("all_of", "and"), ("any_of", "or")):
        parts = getattr(cohort, name)
        if parts:
            changes[name] = [_resolved(part, rows, f"{place}.{kind}[{i}]") for i, part in enumerate(parts)]
    if cohort.none_of is not None:
        changes["none_of"] = _resolved(cohort.none_of, rows, f"{place}.not")
    if cohort.saved is None:
        return replace(cohort, **changes) if changes else cohort
    check_saved(cohort, place)
    found = rows.get(cohort.saved)
    if found is None:
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"`{place}.saved`: there is no saved cohort `{cohort.saved[:100]}`. See GET /cohorts.",
            field=f"{place}.saved",
        )
    _, rule, list_id, *_ = found
    if list_id:
        return ListedCohort(saved=cohort.saved, list_id=list_id)
    return msgspec.json.decode(rule, type=Cohort)
