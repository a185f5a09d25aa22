"""Gives properties of events a column of their own, and takes it away. The text stays, so answers are the same.

A column is worked out from the text by the very expression that queries read the property by. Parts without it
compute it when they are read, so it may be used from the first moment on.
"""

from msgspec import Struct

from services.contract.tables import EVENTS
from services.query.execution.materialized_columns import add_column, read_promoted, tables_of_columns
from services.query.request.filters import FIELDS, TRAITS
from services.query.sql.properties import column_name, is_promotable, property_column
from services.runtime.clickhouse import ClickHouse, StoreTimeoutError
from services.runtime.cluster import on_cluster, on_replicas, own_table
from services.runtime.operator_errors import OperatorError


class PropertyError(OperatorError):
    """The property cannot be promoted, was not, or has its column still; the message says why."""


class PromotedProperty(Struct, frozen=True):
    """Of all `rows`, `rows_written` have the column on disk; the others compute it when they are read."""

    key: str
    rows_written: int
    rows: int


async def list_promoted(store: ClickHouse) -> list[PromotedProperty]:
    """In order of their keys; on a cluster, of all replicas together. Raises StoreError."""
    of_events = f"WHERE database = '{store.database}' AND table = '{own_table(EVENTS, store.cluster)}' AND active"
    parts, columns = (on_replicas(store.cluster, f"system.{name}") for name in ("parts", "parts_columns"))
    ((rows,),) = await store.rows(f"SELECT sum(rows) FROM {parts} {of_events}")
    by_column = await store.rows(f"SELECT column, sum(rows) FROM {columns} {of_events} GROUP BY column")
    written: dict[str, int] = {row[0]: row[1] for row in by_column}
    keys = sorted(await read_promoted(store))
    return [PromotedProperty(key, written.get(column_name(key), 0), rows) for key in keys]


async def promote(store: ClickHouse, cluster: str, key: str, *, new_only: bool) -> None:
    """Add the column; unless `new_only`, have ClickHouse write it into the parts that are there, in the background.

    Safe to repeat. Raises PropertyError for a key that queries do not read or that no column can be named after,
    StoreError.
    """
    if key in FIELDS or key.startswith(TRAITS):
        raise PropertyError(f"{key} is no property of events to filters and breakdowns: they read something else by it")
    if not is_promotable(key):
        raise PropertyError("only keys of 1 to 64 of the characters A-Z a-z 0-9 _ - . $ can be promoted")
    if key not in await read_promoted(store):
        # What an older version made of the property, if it did.
        for table in reversed(tables_of_columns(cluster)):
            await store.command(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {property_column(key)}")
    await add_column(store, cluster, key, new_only=new_only)


async def demote(store: ClickHouse, cluster: str, key: str) -> None:
    """Drop the column, and what is still writing it. Waits for rewriting that began before.

    Raises PropertyError for a key that is not promoted and for a wait that is too long, StoreError.
    """
    promoted = await read_promoted(store)
    if key not in promoted:
        listed = f"promoted are: {', '.join(sorted(promoted))}" if promoted else "no property is"
        raise PropertyError(f"{key} is not promoted; {listed}")
    # ClickHouse drops no column that it is writing. It lists the statement in brackets, names in quotes where they need it.
    await store.command(
        f"KILL MUTATION {on_cluster(cluster)} WHERE database = '{store.database}' AND NOT is_done "
        f"AND table = '{own_table(EVENTS, cluster)}' "
        f"AND trim(BOTH '()' FROM replaceAll(command, '`', '')) = 'MATERIALIZE COLUMN {column_name(key)}'"
    )
    try:
        for table in reversed(tables_of_columns(cluster)):
            await store.command(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {property_column(key)}")
    except StoreTimeoutError as error:
        raise PropertyError(
            f"ClickHouse has not dropped the column of {key} yet: it rewrites parts in turn (see system.mutations). "
            "It goes on by itself"
        ) from error
