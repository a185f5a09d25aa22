"""Whether a shard is away, for queries that do without it.

A shard that hangs says nothing: each statement waits for it, and the query made of these three times as long. Once one was
found silent, queries of the next seconds look with one short try first, and do not wait for it again.
"""

import asyncio
import time

from services.runtime.clickhouse import ClickHouse, StoreError, StoreTimeoutError, StoreUnavailableError
from services.runtime.cluster import of_each_shard, settings_of_look

# So long after a server did not answer, queries look before they wait.
_LOOK_FOR_S = 30.0
# A look takes two seconds where a shard hangs.
_LOOK_S = 5.0
# What a look has found is true for so long: within a query it is asked twice.
_STILL_SO_S = 0.2


class MissingShards:
    """Belongs to one event loop. `skip`: whether queries may do without shards; if not, none is ever said to be away."""

    def __init__(self, store: ClickHouse, *, skip: bool) -> None:
        self._store = store
        self.may_be_skipped = skip and bool(store.cluster)
        self._suspected_until = self._away_until = float("-inf")

    def suspect(self) -> None:
        """Something did not answer: a shard, one of its replicas, or the server that was asked."""
        self._suspected_until = time.monotonic() + _LOOK_FOR_S

    async def is_one_away(self) -> bool:
        """No replica of it answers. Looks only where something was suspected. Raises StoreTimeoutError where the server that is
        asked says nothing itself."""
        now = time.monotonic()
        if not self.may_be_skipped or now >= self._suspected_until:
            return False
        if now < self._away_until:
            return True
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._store.rows(
                    f"SELECT 1 FROM {of_each_shard(self._store.cluster, 'system.one')}",
                    settings=settings_of_look(self._store.cluster),
                )
        except TimeoutError as error:
            raise StoreTimeoutError("no answer in time") from error
        except StoreUnavailableError:
            self._away_until = time.monotonic() + _STILL_SO_S
            return True
        except StoreError:
            pass  # the query says it
        return False
