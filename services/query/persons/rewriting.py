"""How deleted data leave the tables: one mutation a table for many deletions, with numbers in it and no subquery.

What rows are concerned is said twice: once to note the ids of a person's events and calls, whose keys stay taken, and once to
delete. So both speak of what was received up to a time before which all is stored, and mean the same rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from services.contract.api.timestamps import microseconds
from services.contract.deletions import RECEIVED_AFTER, covered_sql
from services.contract.tables import COHORT_IDS, EVENTS, IDENTITY_LOG, PERSON_IDS, SHARDED, TAKEN_IDS
from services.query.persons.deletion_rows import DeletionRow
from services.query.sql.events import NOT_DELETED
from services.runtime.clickhouse import ClickHouse
from services.runtime.cluster import on_cluster, on_replicas, own_table, rows_of
from services.runtime.logs import get_logger

log = get_logger(__name__)
# So many ids of people one mutation names. Each is some 60 bytes, three times in the identity log's mutation; replicated
# tables keep a mutation in a node of Keeper, which takes a megabyte.
MAX_IDS = 4_000
_LARGE_QUERY = {"max_query_size": 16 * 1024**2, "max_ast_elements": 1_000_000, "max_expanded_ast_elements": 2_000_000}
_OF_PROJECT = "project_id = {project:String}"


class DeletedId(NamedTuple):
    """By its hash. Rows of person_ids below the version are of before the deletion."""

    distinct_hash: int
    before_us: int
    version: int


class _Mutation(NamedTuple):
    """`ALTER TABLE table ...`: what is done to the rows for which a condition holds, in this order."""

    table: str
    actions: Sequence[tuple[str, str]]

    @property
    def where(self) -> str:
        return " OR ".join(f"({where})" for _, where in self.actions)


class Rewriting:
    """Of one project; its mutations have a name of the project in them. Methods raise StoreError; each may be repeated."""

    def __init__(self, store: ClickHouse, project_id: str, tag: str) -> None:
        self._store = store
        self._parameters = {"project": project_id, "tag": tag}

    async def begin(
        self, ids: Sequence[DeletedId], windows: Sequence[DeletionRow], received_us: int | None = None
    ) -> int:
        """The number of mutations: none for a table that has nothing of it. `received_us`: also what came in late, as far
        as it was received by then; else what each deletion's request found."""
        if ids:
            await self._note_taken(EVENTS, _events_of(ids, received_us))
            await self._note_taken(IDENTITY_LOG, _identity_of(ids, received_us).actions[-1][1])
        if windows:
            of_windows = " OR ".join(_window_sql(window) for window in windows)
            # Of a deleted person, what came in late may lie there still. Its keys stay taken, whatever deletes it.
            await self._note_taken(EVENTS, f"({of_windows}) AND NOT {NOT_DELETED}")
        concerned = [each for each in _mutations(ids, windows, received_us) if await self._concerns_rows(each)]
        for mutation in concerned:
            await self._mutate(mutation)
        return len(concerned)

    async def passed_over(self, ids: Sequence[DeletedId], windows: Sequence[DeletionRow]) -> list[str]:
        """The tables that still have rows of it, when all mutations are done.

        ClickHouse takes a part for mutated that has a higher number than the mutation. So are all parts of a table that was
        restored from a backup: the server counts on from their numbers only when it was started again.
        """
        return [each.table for each in _mutations(ids, windows, None) if await self._concerns_rows(each)]

    async def under_way(self) -> int:
        """How many of the project's mutations are not done. ClickHouse forgets the others some time."""
        rows = await self._store.rows(
            f"SELECT count(), max(latest_fail_reason) FROM {on_replicas(self._store.cluster, 'system.mutations')} "
            "WHERE database = {database:String} AND NOT is_done AND position(command, {tag:String}) > 0",
            {**self._parameters, "database": self._store.database},
        )
        if rows[0][1]:
            log.warning("mutation_fails", reason=str(rows[0][1])[:500])
        return int(rows[0][0])

    async def _note_taken(self, table: str, where: str) -> None:
        await self._store.command(
            f"INSERT INTO {TAKEN_IDS} (event_id, received_at) SELECT event_id, received_at FROM {self._rows_of(table)} AS e "
            f"WHERE {_OF_PROJECT} AND ({where})",
            self._parameters,
            _LARGE_QUERY,
        )

    async def _concerns_rows(self, mutation: _Mutation) -> bool:
        sql = f"SELECT 1 FROM {self._rows_of(mutation.table)} WHERE {_OF_PROJECT} AND ({mutation.where}) LIMIT 1"
        return bool(await self._store.rows(sql, self._parameters, _LARGE_QUERY))

    async def _mutate(self, mutation: _Mutation) -> None:
        actions = ", ".join(
            f"{action} WHERE {_OF_PROJECT} AND notEmpty({{tag:String}}) AND ({where})"
            for action, where in mutation.actions
        )
        # Keeper tells all nodes that have the whole table; of shards, each has to be told.
        cluster = self._store.cluster
        where = on_cluster(cluster) if mutation.table in SHARDED else ""
        await self._store.command(
            f"ALTER TABLE {own_table(mutation.table, cluster)} {where} {actions}",
            self._parameters,
            {**_LARGE_QUERY, "mutations_sync": 0},
        )

    def _rows_of(self, table: str) -> str:
        return rows_of(self._store.cluster, self._store.database, table)


def _mutations(
    ids: Sequence[DeletedId], windows: Sequence[DeletionRow], received_us: int | None
) -> Iterator[_Mutation]:
    """One a table, of those that may have something of it."""
    events = [_window_sql(window) for window in windows]
    if ids:
        yield _identity_of(ids, received_us)
        yield _Mutation(PERSON_IDS, [("DELETE", _person_ids_of(ids))])
        yield _Mutation(COHORT_IDS, [("DELETE", _cohort_ids_of(ids))])
        events.insert(0, _events_of(ids, received_us))
    if events:
        yield _Mutation(EVENTS, [("DELETE", " OR ".join(events))])


def _events_of(ids: Sequence[DeletedId], received_us: int | None) -> str:
    return _covered(ids, "distinct_hash", received_us)


def _identity_of(ids: Sequence[DeletedId], received_us: int | None) -> _Mutation:
    """What another user said with a link from a deleted id is that user's; only the id goes."""
    of_old = _covered(ids, "old_hash", received_us)
    return _Mutation(
        IDENTITY_LOG,
        [
            ("UPDATE old_id = ''", f"kind = 'link' AND {of_old}"),
            ("DELETE", f"({_covered(ids, 'distinct_hash', received_us)}) OR (kind != 'link' AND {of_old})"),
        ],
    )


def _person_ids_of(ids: Sequence[DeletedId]) -> str:
    return f"{_is_one(ids, 'distinct_hash')} AND version < {_of_id(ids, 'distinct_hash', [i.version for i in ids])}"


def _cohort_ids_of(ids: Sequence[DeletedId]) -> str:
    """Those of lists that the deletion covers. A list that was uploaded later keeps them."""
    column = "sipHash64(project_id, distinct_id)"
    before = f"fromUnixTimestamp64Micro({_of_id(ids, column, [i.before_us for i in ids])}, 'UTC')"
    return f"{_is_one(ids, column)} AND added_at <= addSeconds({before}, {RECEIVED_AFTER.total_seconds():.0f})"


def _covered(ids: Sequence[DeletedId], column: str, received_us: int | None) -> str:
    before = f"fromUnixTimestamp64Micro({_of_id(ids, column, [i.before_us for i in ids])}, 'UTC')"
    if received_us is None:
        return f"{_is_one(ids, column)} AND received_at <= {before}"
    return f"{_is_one(ids, column)} AND received_at <= {_time(received_us)} AND {covered_sql(before)}"


def _is_one(ids: Sequence[DeletedId], column: str) -> str:
    return f"{column} IN ({','.join(f'{i.distinct_hash:d}' for i in ids)})"


def _of_id(ids: Sequence[DeletedId], column: str, values: Sequence[int]) -> str:
    """SQL: the value of the row's id."""
    hashes = ",".join(f"{i.distinct_hash:d}" for i in ids)
    numbers = ",".join(f"{value:d}" for value in values)
    return f"transform({column}, CAST([{hashes}], 'Array(UInt64)'), CAST([{numbers}], 'Array(Int64)'), toInt64(0))"


def _window_sql(window: DeletionRow) -> str:
    """What was received after the request is another matter: the window can be filled again."""
    return (
        f"(received_at <= {_time(microseconds(window.requested_at))} "
        f"AND timestamp >= {_time(microseconds(window.since))} AND timestamp < {_time(microseconds(window.until))})"
    )


def _time(unix_us: int) -> str:
    return f"fromUnixTimestamp64Micro({unix_us:d}, 'UTC')"


async def deleted_ids_of(store: ClickHouse, sql: str, parameters: dict[str, Any]) -> list[DeletedId]:
    """The rows (hash, before, version) that a statement gives."""
    return [DeletedId(*row) for row in await store.rows(sql, parameters)]
