"""What all services agree on about the partitions of the events topic: kept in ClickHouse, not taken from the topic."""

from services.contract.log.topics import Partitioning
from services.contract.tables import PARTITIONING
from services.runtime.clickhouse import ClickHouse
from services.runtime.logs import get_logger
from services.runtime.operator_errors import OperatorError

log = get_logger(__name__)


class PartitioningError(OperatorError):
    """The topic does not have the partitions that ids are spread over; the message says what to do."""


async def agreed_partitioning(store: ClickHouse, topic: str, count: int, *, write: bool = False) -> Partitioning:
    """How ids are spread over a topic of `count` partitions; `write`: put the number down where none is known yet.

    Partitions that were added to the topic are not used: ids whose partition changes under running workers would be
    forgotten by those that have them, and unknown to those that get them. Raises PartitioningError, StoreError.
    """
    agreed = await read_partitioning(store)
    if agreed.partitions == 0:
        agreed = Partitioning(count, agreed.buckets)
        if write:
            await write_partitioning(store, agreed)
    if count < agreed.partitions:
        raise PartitioningError(
            f"{topic} has {count} partitions, but ids are spread over {agreed.partitions}: it was made again. Stop all "
            f"services, run `headrace partitions use {count}`, and start them again."
        )
    if count > agreed.partitions:
        log.warning("partitions_unused", topic=topic, partitions=count, used=agreed.partitions)
    return agreed


async def read_partitioning(store: ClickHouse) -> Partitioning:
    """`partitions` is 0 while no worker has ever started. Raises PartitioningError, StoreError."""
    rows = await store.rows(f"SELECT partitions, buckets FROM {PARTITIONING} ORDER BY at DESC LIMIT 1")
    if not rows:
        raise PartitioningError("the tables are not up to date: run `headrace migrate`")
    return Partitioning(*rows[0])


async def write_partitioning(store: ClickHouse, agreed: Partitioning) -> None:
    """Counts from the next start of a service. Raises StoreError."""
    await store.command(
        f"INSERT INTO {PARTITIONING} (buckets, partitions) VALUES ({{buckets:UInt32}}, {{partitions:UInt16}})",
        {"buckets": agreed.buckets, "partitions": agreed.partitions},
    )
