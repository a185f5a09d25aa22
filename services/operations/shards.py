"""How events lie on the shards of a cluster, and how they would if all came today."""

from msgspec import Struct

from services.contract.tables import EVENTS
from services.runtime.clickhouse import ClickHouse
from services.runtime.cluster import SHARDS_SQL
from services.runtime.operator_errors import OperatorError

_ROWS_SQL = (
    "SELECT _shard_num, count(), countIf({places:Array(UInt32)}[sipHash64(event_id) % length({places:Array(UInt32)}) + 1] "
    f"!= _shard_num) FROM {EVENTS} GROUP BY _shard_num ORDER BY _shard_num"
)


class NoClusterError(OperatorError):
    """There are no shards; the message says why."""


class Shard(Struct, frozen=True):
    """`elsewhere`: of its rows those that would go to another shard if they came today. `share`: of what comes from now on."""

    number: int
    rows: int
    elsewhere: int
    share: float


async def look_at_shards(store: ClickHouse) -> list[Shard]:
    """Reads the ids of all events. Raises NoClusterError, StoreError."""
    if not store.cluster:
        raise NoClusterError("HEADRACE_CLICKHOUSE_CLUSTER is not set: there is one server, and no shard")
    weights = [
        (int(number), int(weight)) for number, weight in await store.rows(SHARDS_SQL, {"cluster": store.cluster})
    ]
    # A shard of weight 2 has two of the places, next to each other, as ClickHouse counts them.
    places = [number for number, weight in weights for _ in range(weight)]
    found = {row[0]: row for row in await store.rows(_ROWS_SQL, {"places": places})}
    shards = []
    for number, weight in weights:
        _, rows, elsewhere = found.get(number, (number, 0, 0))
        shards.append(Shard(number, int(rows), int(elsewhere), weight / len(places)))
    return shards
