"""Reads which event ids are stored, or were and are a deleted person's: from the one server, or from a majority of a cluster.

On a cluster an insert is acknowledged by the majority of a shard's replicas, and the others may not have it yet. So all
replicas of all shards are asked, and the answer counts when a majority of each shard has given it. It does not matter which
shard an id is on: those of before a shard was added are found as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.contract.tables import EVENTS, TAKEN_IDS
from services.runtime.clickhouse import ClickHouse, SentTable, StoreUnavailableError
from services.runtime.cluster import (
    REPLICAS_SQL,
    Replica,
    on_replicas,
    own_table,
    replicas_of,
    shards_without_majority,
)
from services.worker.dedupe.ids import Ids, ids_from_rows, joined, rows_from_ids, without_repeats
from services.worker.dedupe.whole_answers import WHOLE_ANSWER

_TABLES = (EVENTS, TAKEN_IDS)
_UUID_BYTES, _NUMBER_BYTES = 16, 4


class NoMajorityError(StoreUnavailableError):
    """Too few replicas of a shard gave their ids. Nothing of them is used."""


async def count_ids(store: ClickHouse, where: str, parameters: Mapping[str, Any]) -> int:
    """How many rows `where` holds for; on a cluster, of one replica a shard. Raises StoreError."""
    counts = " UNION ALL ".join(f"SELECT count() AS ids FROM {table} {where}" for table in _TABLES)
    rows = await store.rows(f"SELECT sum(ids) FROM ({counts})", parameters, WHOLE_ANSWER)
    return int(rows[0][0])


async def read_ids(store: ClickHouse, where: str, parameters: Mapping[str, Any], asked: Ids | None = None) -> Ids:
    """Ids of the rows for which `where` holds, and of `asked` ones alone; on one server as often as they lie there. Raises
    StoreError."""
    if asked is not None:
        where += " AND event_id IN (SELECT id FROM asked)"
    if not store.cluster:
        select = " UNION ALL ".join(f"SELECT event_id FROM {table} {where}" for table in _TABLES)
        return ids_from_rows(await _raw(store, select, parameters, WHOLE_ANSWER, asked))
    replicas = replicas_of(await store.rows(REPLICAS_SQL, {"cluster": store.cluster}))  # type: ignore[arg-type]
    found = [await _of_majority(store, table, where, parameters, asked, replicas) for table in _TABLES]
    return without_repeats(joined(found))


async def _raw(
    store: ClickHouse,
    sql: str,
    parameters: Mapping[str, Any],
    settings: Mapping[str, int | str],
    asked: Ids | None,
) -> bytes:
    if asked is None:
        return await store.raw(sql, parameters, settings, fmt="RowBinary")
    return await store.raw_with(SentTable("asked", "id UUID", rows_from_ids(asked)), sql, parameters, settings)


async def _of_majority(
    store: ClickHouse,
    table: str,
    where: str,
    parameters: Mapping[str, Any],
    asked: Ids | None,
    replicas: Sequence[Replica],
) -> Ids:
    own = f"{store.database}.{own_table(table, store.cluster)}"
    body = await _raw(
        store,
        f"SELECT shardNum(), groupArray(event_id) FROM {on_replicas(store.cluster, own)} {where}",
        parameters,
        # Each replica's row comes as it is, also of one that has no such id: who is missing has not answered.
        {**WHOLE_ANSWER, "skip_unavailable_shards": 1, "distributed_group_by_no_merge": 1},
        asked,
    )
    answers = dict(_answers(body))
    if missing := shards_without_majority(replicas, answers):
        said = ", ".join(f"{count} of shard {shard}" for shard, count in missing.items())
        raise NoMajorityError(f"too few replicas answered to know all ids: {said}")
    return ids_from_rows(b"".join(answers.values()))


def _answers(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Rows of a number and an array of UUIDs, in RowBinary."""
    at = 0
    while at < len(body):
        number = int.from_bytes(body[at : at + _NUMBER_BYTES], "little")
        count, at = _varint(body, at + _NUMBER_BYTES)
        yield number, body[at : at + count * _UUID_BYTES]
        at += count * _UUID_BYTES


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
